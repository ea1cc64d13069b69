"""How the app is, for whoever hosts it: GET /health."""

import shutil
from typing import Any

import psutil
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from facemogle.ui.provider import PipelineProvider
from facemogle.ui.temp_folder import TempFolder


def health_route(provider: PipelineProvider, folder: TempFolder) -> Route:
    """Answers 200 once the model can draw, else 503; what it says is in words and bytes, never of a visitor."""

    async def health(request: Request) -> JSONResponse:
        ready = not (provider.loading or provider.failure)
        page = request.app.get_blocks()
        return JSONResponse(
            {
                "ready": ready,
                "model": "loading" if provider.loading else "failed" if provider.failure else "ready",
                "checkpoint": provider.checkpoint,
                "queue": in_queue(page._queue),
                "sessions": len(page.state_holder.session_data),
                "disk": {"visitors": folder.size(), "free": shutil.disk_usage(folder.root).free},
                "memory": {"process": psutil.Process().memory_info().rss, "free": psutil.virtual_memory().available},
            },
            status_code=200 if ready else 503,
        )

    return Route("/health", health)


def in_queue(queue: Any) -> dict[str, int]:
    """Runs, and what else the page asks of the server, in Gradio's queue."""
    lines = queue.event_queue_per_concurrency_id.values()
    return {
        "running": sum(line.current_concurrency for line in lines),
        "waiting": sum(len(line.queue) for line in lines),
    }
