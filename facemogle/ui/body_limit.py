"""A bound on what one request may send: without it a forged one fills the server's memory before anything reads it."""

from typing import Any

MAX_BYTES = 64 * 2**20  # a picture file of 32 MB in base64, and what goes with it


class BodyLimit:
    """ASGI middleware that answers 413 to a request whose body is larger, whether or not it says so beforehand."""

    def __init__(self, app: Any, max_bytes: int = MAX_BYTES):
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.max_bytes:
            return await self._refuse(send)
        received, refused, answered = 0, False, False

        async def bounded_receive() -> dict:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received <= self.max_bytes:
                return message
            if not refused and not answered:
                refused = True
                await self._refuse(send)
            return {"type": "http.disconnect"}

        async def bounded_send(message: dict) -> None:
            nonlocal answered
            if not refused:
                answered = True
                await send(message)

        try:
            await self.app(scope, bounded_receive, bounded_send)
        except Exception:
            if not refused:  # else it was broken off here, and the answer is given
                raise

    async def _refuse(self, send: Any) -> None:
        text = f'{{"detail": "A request may hold at most {self.max_bytes // 2**20} MB."}}'.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": text})
