"""The API as tools for MCP: an agent sees the picture itself, and gets the names of files that other tools take.

Gradio serves the protocol. What stands here in place of its own: what a tool says of itself, what it is given, and what
it answers. A call goes the way that any program's goes, through guard, queue and bounds, with the caller's address.
"""

import asyncio
import base64
import inspect
import io
import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from facemogle.label_files import read_label_map
from facemogle.labels import NAMES, NUM_CLASSES
from facemogle.picture_files import read_settings
from facemogle.picture_formats import open_picture
from facemogle.ui.failures import OTHERWISE
from facemogle.ui.mcp_files import taken

if TYPE_CHECKING:
    from gradio.mcp import GradioMCPServer

MAX_SHOWN = 3_000_000  # bytes of a picture as it is; larger ones are shown smaller
SHOWN_SIDE = 1024
EVERY = 5.0  # seconds between two words to a client that waits
FORWARDED = ("host", "x-forwarded-host", "x-forwarded-proto", "cookie", "authorization")
SETTINGS = (  # of a picture, that tell of nothing but the picture
    "prompt", "seed", "guidance_scale", "condition_scale", "expert_scale", "strength", "width", "height",
)  # fmt: skip
INSTRUCTIONS = """\
Faces that follow a label map of 19 classes, a prompt, or both, by 20 experts whose weights can be looked at. A tool
returns pictures, and of each file its `file`: other tools take that in place of the file itself, for two hours. Usual
ways: generate, then gating with the record, or parse with the face; cut_out of a photo, parse of what was cut out, then
edit of it with a region, or with the label map changed and as it was."""
FILE = "Given as the `file` of an answer, a data: URL, base64, or a public http(s) address"
LOCAL = ", or a path in the folder that is open to tools"


class Tools:
    """In place of Gradio's own answers to list and call. folder: of this computer, in which tools may read; None: none.

    app: the server's, with all that requests pass.
    """

    def __init__(self, app: Any, offered: "GradioMCPServer", folder: Path | None):
        self.app, self.offered, self.folder = app, offered, folder
        self.types = offered.types
        server = offered.mcp_server
        server.instructions = INSTRUCTIONS
        server.list_tools()(self.offer)
        server.call_tool(validate_input=False)(self.call)  # the words of JSON Schema name no field, and ours do

    async def offer(self) -> list:
        chosen = self.offered.get_selected_tools_from_request()
        return [self._tool(name) for name in self.offered.tool_to_endpoint if chosen is None or name in chosen]

    async def call(self, name: str, arguments: dict[str, Any]) -> Any:
        endpoints = self.offered.tool_to_endpoint
        if name not in endpoints:
            raise ValueError(f"There is no tool {name[:40]!r}. There are {', '.join(endpoints)}.")
        data = await self._data(name, {field: value for field, value in arguments.items() if value is not None})
        outputs = await self._run(endpoints[name], data)
        labels = [each["label"].lower().replace(" ", "_") for each in self._info(name)["returns"]]
        return await asyncio.to_thread(self._answer, dict(zip(labels, outputs, strict=True)))

    def _info(self, name: str) -> Mapping[str, Any]:
        return self.offered.api_info["named_endpoints"][self.offered.tool_to_endpoint[name]]

    def _tool(self, name: str) -> Any:
        function = self.offered.get_block_fn_from_endpoint_name(self.offered.tool_to_endpoint[name])
        assert function is not None
        description, said = documented(function.fn)
        properties = {}
        for each in self._info(name)["parameters"]:
            schema = dict(each["type"])
            text = f"{said.get(each['parameter_name'], '')} {schema.get('description', '')}".strip()
            if is_file(each):
                schema, text = {"type": "string"}, f"{text} {FILE}{LOCAL if self.folder else ''}."
            if each.get("parameter_default") is not None:
                schema["default"] = each["parameter_default"]
            properties[each["parameter_name"]] = schema | {"description": text}
        schema = {"type": "object", "properties": properties, "required": self._required(name)}
        return self.types.Tool(name=name, description=description, inputSchema=schema)

    def _required(self, name: str) -> list[str]:
        parameters = self._info(name)["parameters"]
        return [each["parameter_name"] for each in parameters if not each.get("parameter_has_default")]

    async def _data(self, name: str, given: dict[str, Any]) -> list[Any]:
        """The arguments in the endpoint's order. ValueError names the field that is wrong."""
        parameters = self._info(name)["parameters"]
        fields = [each["parameter_name"] for each in parameters]
        if unknown := [field for field in given if field not in fields]:
            raise ValueError(f"{unknown[0][:40]}: {name} has no such field. Its fields are {', '.join(fields)}.")
        if missing := [field for field in self._required(name) if field not in given]:
            raise ValueError(f"{missing[0]}: {name} needs it, and it was not given.")
        data = []
        for each in parameters:
            field = each["parameter_name"]
            value = given.get(field, each.get("parameter_default"))
            if field in given and is_file(each):
                value = {"path": str(await taken(field, value, self.folder)), "meta": {"_type": "gradio.FileData"}}
            data.append(value)
        return data

    async def _run(self, endpoint: str, data: list[Any]) -> list[Any]:
        """What the endpoint returns, after its turn in the queue. Breaking it off ends the run within a step."""
        asked = self.offered.mcp_server.request_context.request
        assert asked is not None
        headers = {name: asked.headers[name] for name in FORWARDED if name in asked.headers}
        client = (asked.client.host, asked.client.port) if asked.client else ("127.0.0.1", 0)
        address = f"{asked.url.scheme}://{asked.url.netloc}"
        transport = httpx.ASGITransport(self.app, client=client, raise_app_exceptions=False)
        waiting = asyncio.create_task(self._say_that_it_goes_on())
        try:
            async with httpx.AsyncClient(transport=transport, base_url=address, headers=headers, timeout=None) as http:
                joined = await http.post(f"/gradio_api/call{endpoint}", json={"data": data})
                if joined.is_error:
                    raise ValueError(refusal(joined))
                events = await http.get(f"/gradio_api/call{endpoint}/{joined.json()['event_id']}")
        finally:
            waiting.cancel()
        return completed(events.text)

    async def _say_that_it_goes_on(self) -> None:
        """To a client that asked for it: many give up on what they have not heard of for a minute."""
        context = self.offered.mcp_server.request_context
        token = context.meta.progressToken if context.meta else None
        if token is None:
            return
        for count in itertools.count(1):
            await asyncio.sleep(EVERY)
            text = f"working, {count * EVERY:.0f} s"
            await context.session.send_progress_notification(
                token, count, message=text, related_request_id=str(context.request_id)
            )

    def _answer(self, outputs: dict[str, Any]) -> Any:
        """The pictures among the outputs, and all that is said of them, for people's clients and for programs."""
        pictures, told = [], {}
        for name, value in outputs.items():
            told[name] = value
            if isinstance(value, dict) and "path" in value:
                path = Path(value["path"])
                told[name] = {"file": "/".join(path.parts[-2:]), "url": value.get("url")} | said_of(name, path)
                if path.suffix == ".png":
                    content, kind = shown(path)
                    data = base64.b64encode(content).decode()
                    pictures.append(self.types.ImageContent(type="image", data=data, mimeType=kind))
        text = self.types.TextContent(type="text", text=json.dumps(told, ensure_ascii=False))
        return self.types.CallToolResult(content=[*pictures, text], structuredContent=told)


def refusal(answer: httpx.Response) -> str:
    """Why the queue did not take a call."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, TypeError, KeyError):  # no JSON, or not of this kind
        return OTHERWISE


def completed(events: str) -> list[Any]:
    """What the stream of a call ended with. ValueError says why, where that is no answer."""
    lines = [line.partition(": ")[2] for line in events.splitlines() if line.startswith(("event: ", "data: "))]
    kind, said = lines[-2:] if len(lines) > 1 else ("error", "null")
    value = json.loads(said)
    if kind == "complete":
        return value
    if isinstance(value, dict):
        value = value.get("error")
    raise ValueError(str(value or OTHERWISE))


def is_file(parameter: dict[str, Any]) -> bool:
    return parameter["component"] == "File"


def documented(function: Any) -> tuple[str, dict[str, str]]:
    """(what it does and returns, field -> what that means), from its docstring."""
    text, _, rest = (inspect.getdoc(function) or "").partition("\n\nArgs:\n")
    arguments, _, returns = rest.partition("\n\nReturns:\n")
    said: dict[str, str] = {}
    for line in arguments.splitlines():
        field, colon, meaning = line.strip().partition(": ")
        if colon and re.match(r" {4}\w", line):
            said[field] = meaning
        elif said:
            said[next(reversed(said))] += f" {line.strip()}"
    return " ".join(f"{text} Returns: {returns}".split()), said


def said_of(name: str, path: Path) -> dict[str, Any]:
    """Of a picture that was made here, how; of a label map, the shares of its classes in the picture, 0 to 1."""
    if path.suffix != ".png":
        return {}
    if name == "label_map":
        shares = np.bincount(read_label_map(path).label_map.ravel(), minlength=NUM_CLASSES)
        shares = shares / shares.sum()
        return {"classes": {NAMES[one]: round(float(shares[one]), 4) for one in np.flatnonzero(shares)}}
    settings = read_settings(path)
    if settings is None:
        return {}
    made = {field: getattr(settings, field) for field in SETTINGS} | {"steps": settings.num_inference_steps}
    return {"settings": {field: value for field, value in made.items() if value is not None}}


def shown(path: Path) -> tuple[bytes, str]:
    """(content, MIME type) of a PNG as it is, or, where it is large, of a smaller JPEG."""
    if path.stat().st_size <= MAX_SHOWN:
        return path.read_bytes(), "image/png"
    with open_picture(path) as picture:
        small, file = picture.convert("RGB"), io.BytesIO()
    small.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    small.save(file, "JPEG", quality=90)
    return file.getvalue(), "image/jpeg"
