"""Requests that are too large are refused before they are read."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from facemogle.ui.body_limit import BodyLimit

LIMIT = 2**20


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def client():
    async def echo(request):
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(routes=[Route("/", echo, methods=["POST"])], middleware=[Middleware(BodyLimit, max_bytes=LIMIT)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page")


def chunks(count: int):
    async def stream():
        for _ in range(count):
            yield b"x" * 2**16

    return stream()


@pytest.mark.anyio
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_refused_and_the_next_one_served(client, announced):
    fits, large = (b"x" * LIMIT, b"x" * (LIMIT + 1)) if announced else (chunks(16), chunks(17))
    refused = await client.post("/", content=large)
    assert refused.status_code == 413
    assert refused.json() == {"detail": "A request may hold at most 1 MB."}
    assert (await client.post("/", content=fits)).text == str(LIMIT)


@pytest.mark.anyio
async def test_a_length_that_is_no_number_is_refused(client):
    assert (await client.post("/", content=b"x", headers={"content-length": "-5"})).status_code == 413
