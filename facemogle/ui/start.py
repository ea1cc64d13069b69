"""What may go wrong before the page is there, told in one line: its address, and the folder for visitors' files.

Nothing here imports Gradio, which looks for that folder as soon as it is imported.
"""

import os
import socket
import sys
import tempfile
from pathlib import Path


def writable_folder() -> str:
    """The folder in which Gradio keeps what visitors send, or one of one's own where it belongs to somebody else."""
    try:
        folder = Path(os.environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir(), "gradio"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            return tempfile.mkdtemp(prefix="gradio-")
        return str(folder)
    except OSError as error:  # there is no folder for temporary files at all
        sys.exit(f"Visitors' files need a folder: {error}. Set TMPDIR, or GRADIO_TEMP_DIR, to one that can be written.")


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
