"""What the server does besides answering, from its start to its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from facemogle.ui.fair_queue import forgetting


@asynccontextmanager
async def living(app: Any, *, keep: float, files: Path | None) -> AsyncIterator[None]:
    """It forgets sessions that nobody used for `keep` seconds; and where it speaks MCP, it does with our tools.

    files: the folder in which these may read, or None.
    """
    if offered := app.get_blocks().mcp_server_obj:
        from facemogle.ui.mcp_tools import Tools  # with what MCP alone needs

        Tools(app, offered, files)
    async with forgetting(keep)(app):
        yield
