"""The page's tools, called by an AI agent's own client over MCP: on loopback, and without a network."""

import asyncio
import base64
import io
import json
import logging
import os
import socket
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.request import urlopen

import httpx
import numpy as np
import pytest
import torch
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

import app
from facemogle import figures
from facemogle.gating import load_gating
from facemogle.label_files import read_label_map, write_label_map
from facemogle.picture_files import Settings, read_settings, write_picture
from facemogle.ui import layout
from facemogle.ui.mcp_files import MAX_BYTES, taken
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.studies import streamed
from tests import recorded

SKIN, HAIR = 1, 13


class Halves:
    """A parser that reads hair in the upper half of any picture, and skin in the lower."""

    def probabilities(self, pictures):
        return [self.label_map(*each.shape[:2]) == np.arange(19, dtype=np.float32)[:, None, None] for each in pictures]

    @staticmethod
    def label_map(height, width):
        return np.repeat([HAIR, SKIN], height // 2)[:, None].repeat(width, 1)


@pytest.fixture(scope="module")
def pipeline():
    return recorded.tiny_pipeline(recorded.tiny_transformer(), recorded.published_mogle())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of pictures, open to tools; beside it one that is not."""
    root = tmp_path_factory.mktemp("mcp")
    for name in ("open/inner", "other"):
        (root / name).mkdir(parents=True)
    Image.effect_noise((64, 64), 90).convert("RGB").save(root / "open" / "inner" / "photo.jpg")
    Image.new("RGB", (64, 64), "red").save(root / "other" / "secret.png")
    (root / "open" / "key").write_text("-----BEGIN KEY-----")
    (root / "open" / "large.png").write_bytes(b"\x89PNG" + bytes(MAX_BYTES))
    (root / "open" / "link.png").symlink_to(root / "other" / "secret.png")
    (root / "open" / "out").symlink_to(root / "other")
    (root / "open" / "ring.png").symlink_to(root / "open" / "ring.png")
    os.mkfifo(root / "open" / "pipe.png")
    return root / "open"


@pytest.fixture(scope="module")
def url(pipeline, folder):
    """Of a server with tools, in a process that reaches loopback alone."""
    connect = socket.socket.connect

    def near(self, address):
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost"), address
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", near)
        provider = PipelineProvider("tiny", lambda: pipeline, checkpoint="tiny")
        page = layout.build(provider, [], load_parser=Halves)
        options = layout.launch_options(files=folder)
        _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, mcp_server=True, **options)
        yield url
        page.close()


@asynccontextmanager
async def session(url):
    async with (
        streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


def called(url, *calls):
    """Answers to (tool, arguments), in one session."""

    async def ask():
        async with session(url) as one:
            return [await one.call_tool(tool, arguments) for tool, arguments in calls]

    return asyncio.run(ask())


def said(answer):
    """What an error says."""
    assert answer.isError
    (content,) = answer.content
    return content.text


def content_of(answer):
    """The one picture that the client sees, as a file."""
    assert not answer.isError, answer.content
    (picture,) = (each for each in answer.content if each.type == "image")
    assert picture.mimeType == "image/png"
    return base64.b64decode(picture.data)


def seen(answer):
    """Pixels of the one picture that the client sees."""
    return np.asarray(Image.open(io.BytesIO(content_of(answer))).convert("RGB"))


def data_url(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def test_from_a_face_to_its_map_its_experts_and_a_change_of_it(url, pipeline):
    async def chain():
        async with session(url) as one:

            async def call(tool, **arguments):
                answer = await one.call_tool(tool, arguments)
                assert not answer.isError, answer.content
                assert answer.content[-1].type == "text"
                return answer, answer.structuredContent

            face, told = await call("generate", prompt="a face", seed=7, steps=2, expert_scale={"hair": 0})
            settings = read_settings(io.BytesIO(content_of(face)))
            assert (settings.prompt, settings.seed, settings.expert_scale) == ("a face", 7, {"hair": 0})
            made = told["face"]["settings"]
            assert (made["prompt"], made["seed"], made["steps"], made["width"]) == ("a face", 7, 2, 64)
            record = load_gating(io.BytesIO(urlopen(told["gating"]["url"]).read()))

            experts, _ = await call("gating", record=told["gating"], step=1)
            assert np.array_equal(seen(experts), figures.expert_grid(record.at(1)))

            parsed, map_told = await call("parse", photo=told["face"]["file"])
            label_map = Halves.label_map(64, 64)
            assert np.array_equal(read_label_map(io.BytesIO(content_of(parsed))).label_map, label_map)
            assert map_told["label_map"]["classes"] == {"skin": 0.5, "hair": 0.5}

            ours = {"label_map": map_told["label_map"]["file"], "classes": "celebamask-hq", "steps": 2}
            followed, whole = await call("generate", seed=3, **ours)
            alone = pipeline(
                label_map=label_map, height=64, width=64, num_inference_steps=2,
                generator=torch.Generator().manual_seed(3),
            )  # fmt: skip
            assert np.array_equal(seen(followed), alone.images[0])

            # What is changed is what the client saw, where a picture that it made is white.
            white = Image.new("L", (64, 64))
            white.paste(255, (32, 0, 64, 64))
            asked = {"prompt": "old", "region": data_url(white), "steps": 2}
            image = base64.b64encode(content_of(followed)).decode()
            changed, change = await call("edit", picture=image, **asked)
            assert np.array_equal(seen(changed)[:, :32], seen(followed)[:, :32])
            assert (seen(changed)[:, 40:] != seen(followed)[:, 40:]).any()
            assert change["face"]["settings"]["strength"] == 1

            hair, _ = await call("edit", picture=whole["face"]["url"], prompt="red hair", parts=["hair"], steps=2)
            assert np.array_equal(seen(hair)[40:], seen(followed)[40:])
            assert (seen(hair)[:32] != seen(followed)[:32]).any()

            swapped = label_map.copy()
            swapped[48:] = HAIR
            file = io.BytesIO()
            write_label_map(file, swapped)
            given = base64.b64encode(file.getvalue()).decode()
            maps = {"label_map": given, "source_map": map_told["label_map"]["file"], "classes": "celebamask-hq"}
            by_maps, _ = await call("edit", picture=whole["face"]["file"], steps=2, **maps)
            assert np.array_equal(seen(by_maps)[:32], seen(followed)[:32])
            assert (seen(by_maps)[52:] != seen(followed)[52:]).any()

            sheet, effects = await call("expert_effects", face=whole["face"]["file"], experts=["hair", "skin"], steps=1)
            assert seen(sheet).shape[1] == 1200 and set(effects["changes"]) == {"hair", "skin"}
            ends = {"first": told["face"]["file"], "second": whole["face"]["file"]}
            strip, film = await call("morph", **ends, frames=3, steps=1)
            assert seen(strip).shape == (192, 3 * 192, 3)
            assert Image.open(io.BytesIO(urlopen(film["film"]["url"]).read())).n_frames == 3

    asyncio.run(chain())


def test_a_picture_is_cut_out_as_it_is_parsed(url, folder):
    drawn, _ = called(url, ("generate", {"steps": 1}), ("parse", {"photo": str(folder / "inner" / "photo.jpg")}))
    (cut,) = called(url, ("cut_out", {"photo": drawn.structuredContent["face"]["file"]}))
    assert np.array_equal(seen(cut), seen(drawn))


def test_what_tools_say_of_themselves(url):
    async def listed():
        async with session(url) as one:
            return {tool.name: tool for tool in (await one.list_tools()).tools}

    tools = asyncio.run(listed())
    assert set(tools) == {"generate", "edit", "parse", "cut_out", "gating", "expert_effects", "morph"}
    for tool in tools.values():
        for field, schema in tool.inputSchema["properties"].items():
            assert len(schema["description"]) > 20, (tool.name, field)
    assert tools["edit"].inputSchema["required"] == ["picture"]
    assert "a path in the folder" in tools["parse"].inputSchema["properties"]["photo"]["description"]
    assert "such as {" in tools["generate"].inputSchema["properties"]["classes"]["description"]  # to the last line
    schema = json.loads(urlopen(f"{url}gradio_api/mcp/schema").read())  # which the Hub reads of a Space
    assert [tool["name"] for tool in schema] == list(tools)


def test_a_file_is_read_in_the_open_folder_and_nowhere_else(url, folder):
    photo = folder / "inner" / "photo.jpg"
    inside = ["inner/photo.jpg", str(photo), photo.as_uri(), "inner/../inner/photo.jpg"]
    outside = [
        "/etc/passwd", "../other/secret.png", str(folder.parent / "other" / "secret.png"), "link.png",
        "out/secret.png", "ring.png", "pipe.png", "inner", "none.png", "file:///etc/passwd", "a\0b", "~/x.png",
        f"{folder}-more/x.png", "inner/../../other/secret.png",
    ]  # fmt: skip
    asked = [("parse", {"photo": each, "whole": True}) for each in [*inside, *outside, "key", "large.png"]]
    answers = called(url, *asked)
    for given, answer in zip(inside, answers, strict=False):
        assert (seen(answer)[0] == (0, 0, 204)).all(), given  # hair
    refused = [said(answer) for answer in answers[len(inside) :]]
    assert set(refused[:-2]) == {
        "photo: there is no such file in the folder that --mcp-files opens, or none that may be read."
    }
    assert "no picture that can be read" in refused[-2] and "KEY" not in refused[-2]
    assert "at most 32 MB" in refused[-1]


def test_no_folder_is_open_unless_asked_for_and_on_loopback(folder, capsys):
    with pytest.raises(ValueError, match=r"photo: files of this computer are read where .*--mcp-files FOLDER alone"):
        asyncio.run(taken("photo", str(folder / "inner" / "photo.jpg"), None))
    with pytest.raises(ValueError, match="on this computer alone"):
        layout.launch_options(hosts=None, files=folder)
    assert app.parse_arguments(["--mcp", "--mcp-files", str(folder)]).mcp_files == folder.resolve()
    for more, why in {
        ("--mcp", "--host", "0.0.0.0"): "whoever reaches the page",
        ("--mcp", "--share"): "whoever reaches the page",
        (): "the tools of --mcp",
        ("--mcp", "--mcp-files", "no/where"): "there is no folder",
    }.items():
        with pytest.raises(SystemExit):
            app.parse_arguments(["--mcp-files", str(folder), *more])
        assert why in capsys.readouterr().err


LONG = "http://a" + "/gradio_api/file=" * 10**5
WRONG = {
    "Seed must be a whole number from 0 to 9007199254740991, got -1": ("generate", {"seed": -1}),
    "Seed must be a whole number, got 'x'": ("generate", {"seed": "x"}),
    "Guidance must be a number from 0 to 100": ("generate", {"guidance_scale": 1e9}),
    "Expert scale: There is no expert 'hare'": ("generate", {"expert_scale": {"hare": 0}}),
    "Whole must be true or false, got 'no'": ("parse", {"photo": "inner/photo.jpg", "whole": "no"}),
    "promt: generate has no such field. Its fields are label_map, prompt": ("generate", {"promt": "a"}),
    "photo: parse needs it": ("parse", {}),
    "There is no tool 'paint'. There are generate, edit": ("paint", {}),
    "photo: expected a file as text, got int": ("parse", {"photo": 5}),
    "photo: nothing could be fetched from this address": ("parse", {"photo": "http://127.0.0.1:1/a.png"}),
    "photo: nothing could be fetched from this address.": ("parse", {"photo": "http://169.254.169.254/a.png"}),
    "photo: nothing could be fetched from this address. ": ("parse", {"photo": LONG}),
    "photo: this is no base64, or was cut short": ("parse", {"photo": "data:image/png;base64,AAAAA"}),
    "photo: a data: URL must hold base64": ("parse", {"photo": "data:text/plain,a"}),
    "photo: this is no picture that can be read": ("parse", {"photo": "data:image/png;base64,AAAA"}),
    "photo: this file is not here any more": ("parse", {"photo": f"{'0' * 64}/face.png"}),
    "Record: ": ("gating", {"record": "inner/photo.jpg"}),
    "Label map: photo.jpg has 256 shades of grey: a photograph": ("generate", {"label_map": "inner/photo.jpg"}),
    "Classes: 'x' is no class order": ("generate", {"label_map": "inner/photo.jpg", "classes": "x"}),
    "Source map: it tells where things are": ("edit", {"picture": "inner/photo.jpg"}),
    "Parts must be a list of some of": ("edit", {"picture": "inner/photo.jpg", "parts": ["hare"]}),
    "Face: it carries no settings": ("expert_effects", {"face": "inner/photo.jpg"}),
    "Experts must be a list of some of": ("expert_effects", {"face": "inner/photo.jpg", "experts": "hair"}),
}  # fmt: skip


def test_what_is_wrong_is_named_and_the_log_is_spared(url, folder, capsys):
    for (begin, (tool, _)), answer in zip(WRONG.items(), called(url, *WRONG.values()), strict=True):
        text = said(answer)
        assert text.startswith(begin), (tool, text)
        assert not any(part in text for part in ("/tmp", "/home", str(folder), "Traceback", "NoneType")), text
    assert "Traceback" not in capsys.readouterr().err


def forged(**changes):
    """A picture that says of itself what is not so."""
    file, settings = io.BytesIO(), Settings("", None, 0, 1, 3.5, 1.0, 64, 64, None, "tiny")
    write_picture(file, Image.new("RGB", (64, 64)), replace(settings, **changes))
    return base64.b64encode(file.getvalue()).decode()


def test_studies_are_bounded(url):
    one = forged()
    asked = {
        "Face: it has 4096x4096 pixels, and here at most 64x64": (
            "expert_effects",
            {"face": forged(height=4096, width=4096)},
        ),
        "Face: it was made by another checkpoint": ("expert_effects", {"face": forged(checkpoint="/etc")}),
        "Face: it was made by changing a picture": ("expert_effects", {"face": forged(strength=0.5)}),
        "Face: it was made with other LoRAs": ("expert_effects", {"face": forged(loras={"/etc/ink": 1.0})}),
        "Steps: must be a whole number from 1 to 28, got 1000": (
            "expert_effects",
            {"face": forged(num_inference_steps=1000)},
        ),
        "Second: The two runs have another height": ("morph", {"first": one, "second": forged(height=32)}),
        "Steps: must be a whole number from 1 to 28, got 29": ("expert_effects", {"face": one, "steps": 29}),
        "Frames: must be a whole number from 2 to 12, got 13": ("morph", {"first": one, "second": one, "frames": 13}),
    }
    for begin, answer in zip(asked, called(url, *asked.values()), strict=True):
        assert said(answer).startswith(begin)


def test_a_study_ends_within_a_step_of_its_caller(caplog):
    ended = threading.Event()

    def work(step_done):
        try:
            for step in range(1000):
                step_done(None, step, None, {})
                time.sleep(0.01)
        finally:
            ended.set()

    with caplog.at_level(logging.INFO, "facemogle.runs"):
        made = streamed(work)
        assert next(made) is None and not ended.is_set()
        made.close()
        assert ended.wait(1) and "cancelled: a study" in caplog.text


def test_a_strangers_page_cannot_call_a_tool(url):
    call = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "generate", "arguments": {}}}'
    address, accept = f"{url}gradio_api/mcp/", {"accept": "application/json, text/event-stream"}
    # What a browser sends to another origin without asking it first.
    assert httpx.post(address, content=call, headers=accept | {"content-type": "text/plain"}).status_code == 400
    stranger = {"origin": "https://evil.example", "access-control-request-method": "POST",
                "access-control-request-headers": "content-type"}  # fmt: skip
    allowed = httpx.options(address, headers=stranger).headers.get("access-control-allow-origin")
    assert allowed not in ("*", "https://evil.example")
    rebound = accept | {"content-type": "application/json", "host": "evil.example"}
    assert httpx.post(address, content=call, headers=rebound).status_code == 421


def test_a_run_ends_when_the_client_leaves(url, caplog):
    async def leave():
        async with session(url) as one:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(one.call_tool("generate", {"steps": 1000}), 1.5)

    with caplog.at_level(logging.INFO, "facemogle.runs"):
        asyncio.run(leave())
        deadline = time.monotonic() + 10
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.05)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["cancelled"]
