"""What may go wrong with the page's address, told in one line before anything slow is imported."""

import os
import socket
import sys


def check_address(host: str | None, port: int | None) -> None:
    """Exit with one line where the page cannot be served there."""
    host = host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except (OSError, UnicodeError) as error:
        remedy = "Use --host 127.0.0.1, or 0.0.0.0 to be seen from other computers"
        if port:
            remedy = f"{remedy}; and another --port where {port} is in use"
        sys.exit(f"The page cannot be served at {host}{f':{port}' if port else ''}: {error}. {remedy}.")
