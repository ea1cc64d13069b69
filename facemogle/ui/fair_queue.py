"""Nobody holds the queue for the others: bounds by session and by address, and no run for who never listens.

Gradio itself drops what a visitor waits for who has gone; a run ends within a step, since runs are generators.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import gradio as gr

MAX_WAITING = 32  # in the whole queue
PER_SESSION, PER_ADDRESS = 4, 24  # runs of the model that wait or go on
LISTEN_WITHIN = 10.0  # seconds after it joined, a session has to read what becomes of it
MAX_RECORDED = 100  # past runs, which Gradio counts through at each new one: 10,000 of them, its own bound, in 20 ms
_LISTENING: Counter[str] = Counter()  # streams by session
_STREAM = re.compile(r"/queue/data$|/call/(?:v2/)?[^/]+/(\w+)$")


def make_fair(page: gr.Blocks, *, concurrency_id: str, listen_within: float = LISTEN_WITHIN) -> gr.Blocks:
    """Bound the queue of a page, whose runs of the model share `concurrency_id`; see Streams."""
    page.queue(max_size=MAX_WAITING)
    queue = page._queue
    queue.ANALYTICS_MAX_EVENTS = MAX_RECORDED
    push, watches = queue.push, set()

    async def bounded_push(body: Any, request: Any, username: str | None) -> tuple:
        if refusal := _refusal(page, body, request, concurrency_id):
            return False, refusal, "queue_full"
        answer = await push(body=body, request=request, username=username)
        if answer[0]:
            watch = asyncio.create_task(_drop_unheard(page, str(answer[1]), body.session_hash, listen_within))
            watches.add(watch)  # a task that nothing refers to may vanish
            watch.add_done_callback(watches.discard)
        return answer

    queue.push = bounded_push  # type: ignore[method-assign]
    return page


def _refusal(page: gr.Blocks, body: Any, request: Any, concurrency_id: str) -> str | None:
    """Why this join is one too many."""
    function = page.fns.get(body.fn_index) if body.fn_index is not None else None
    if function is None or function.concurrency_id != concurrency_id:
        return None
    waiting = [each for each in page._queue.event_ids_to_events.values() if each.concurrency_id == concurrency_id]
    own = sum(each.session_hash == body.session_hash for each in waiting if body.session_hash)
    near = sum(_address(each.request) == _address(request) for each in waiting)
    if own >= PER_SESSION:
        return f"This page has {own} runs that wait already. Wait for one of them, or cancel it."
    if near >= PER_ADDRESS:
        return f"From your address {near} runs wait already, of {len(waiting)} in all. Try again in a minute."
    return None


def _address(request: Any) -> str | None:
    return request.client.host if request is not None and request.client else None


async def _drop_unheard(page: gr.Blocks, event_id: str, session: str, seconds: float) -> None:
    """Of a session that may be between two streams, none but the one that nobody has heard of in all that time."""
    await asyncio.sleep(seconds)
    if not _LISTENING[session]:
        await page._queue.clean_events(event_id=event_id)


class Streams:
    """ASGI middleware that counts the streams on which sessions hear of their runs."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        stream = _STREAM.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if not stream:
            return await self.app(scope, receive, send)
        session = stream[1] or parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        _LISTENING[session] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            _LISTENING[session] -= 1
            if not _LISTENING[session]:
                del _LISTENING[session]


def forgetting(keep: float) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Lifespan of a server that forgets sessions which for `keep` seconds nobody has used, see `forget`."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(keep / 60)
                forget(app.get_blocks(), keep)

        sweeping = asyncio.create_task(sweep())
        yield
        sweeping.cancel()

    return lifespan


def forget(page: gr.Blocks, keep: float) -> None:
    """Let go of sessions that for `keep` seconds have neither run nor listened to anything, and of what was for them.

    Gradio would hold its copies of the page, 1.3 MB a session, until ten thousand others have come; the messages of who
    left, until two thousand have; and the names of their runs for ever.
    """
    holder, queue = page.state_holder, page._queue
    busy = {*_LISTENING, *(event.session_hash for event in queue.event_ids_to_events.values())}
    for session, used in list(holder.time_last_used.items()):
        if session not in busy and (datetime.now() - used).total_seconds() >= keep:
            holder.session_data.pop(session, None)
            holder.time_last_used.pop(session, None)
    for kept in (queue.pending_messages_per_session, queue.pending_event_ids_session):
        for session in kept.keys() - holder.session_data.keys() - busy:
            del kept[session]
