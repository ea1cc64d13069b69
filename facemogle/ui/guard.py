"""What the page allows browsers: its own scripts and addresses, no frame of a stranger's, and no host not asked for."""

import os
from typing import Any

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
# Gradio's page builds functions from text, and styles itself; all else comes from here.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)


class Guard:
    """ASGI middleware: security headers on every answer, and a refusal where the Host is none of `hosts`.

    `hosts` None lets any through. A page of a stranger's could otherwise give its own name this computer's address, and
    so speak to the app as itself (DNS rebinding).
    """

    def __init__(self, app: Any, hosts: frozenset[str] | None = LOOPBACK):
        self.app, self.hosts = app, hosts
        on_space = bool(os.environ.get("SPACE_ID"))  # where the Hub shows the page in a frame
        frames = "" if on_space else "; frame-ancestors 'self'"
        headers = {
            "content-security-policy": _POLICY + frames,
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
        } | ({} if on_space else {"x-frame-options": "SAMEORIGIN"})
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").rpartition(":")
        name = (host[0] if host[2].isdigit() else "".join(host)).lower()

        async def guarded_send(message: dict) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in self.headers}
                kept = [header for header in message["headers"] if header[0].lower() not in own]
                message = message | {"headers": [*kept, *self.headers]}
            await send(message)

        if self.hosts is not None and name not in self.hosts:
            return await _refuse(guarded_send)
        await self.app(scope, receive, guarded_send)


async def _refuse(send: Any) -> None:
    text = b"This page answers to 127.0.0.1 and localhost alone. Start it with --host 0.0.0.0 to open it to others."
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": text})
