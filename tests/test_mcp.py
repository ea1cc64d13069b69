"""The page's tools, called by an AI agent's own client over MCP."""

import asyncio
import io
import re
from urllib.request import urlopen

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from facemogle.gating import load_gating
from facemogle.picture_files import read_settings
from facemogle.ui import layout
from facemogle.ui.provider import PipelineProvider


@pytest.fixture
def call(pipeline):
    """Name of a tool and its arguments -> whether it failed, and what it answers."""
    page = layout.build(PipelineProvider("tiny", lambda: pipeline, checkpoint="tiny"), [])
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, mcp_server=True, **layout.launch_options())

    async def ask(tool: str, arguments: dict) -> tuple[bool, str]:
        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            answer = await session.call_tool(tool, arguments)
            return answer.isError, answer.content[0].text

    yield lambda tool, **arguments: asyncio.run(ask(tool, arguments))
    page.close()


def test_an_agent_paints_a_face(call):
    failed, answer = call("generate", prompt="a face", seed=7, steps=1, expert_scale={"hair": 0})
    face, gating = re.findall(r"'url': '([^']+)'", answer)
    settings = read_settings(io.BytesIO(urlopen(face).read()))
    assert not failed
    assert (settings.prompt, settings.seed, settings.expert_scale) == ("a face", 7, {"hair": 0})
    assert load_gating(io.BytesIO(urlopen(gating).read())).weights.shape[:3] == (1, 1, 20)


def test_an_agent_is_told_what_is_wrong_and_the_log_is_spared(call, capsys):
    assert call("generate", seed=-1) == (
        True,
        "Seed must be a whole number from 0 to 9007199254740991, got -1; New seed draws one.",
    )
    failed, answer = call("generate", expert_scale={"hare": 0})
    assert failed and "There is no expert 'hare'" in answer
    assert "Traceback" not in capsys.readouterr().err
