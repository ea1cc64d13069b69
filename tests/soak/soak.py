"""Visitors come, generate, upload and vanish, for ten minutes: `python tests/soak/soak.py [--minutes 10]`, by hand.

On the loopback address alone, with the bundled checkpoint. At the end, once all ages have passed, disk and memory must
be back within 5% of what they were after two minutes; else it exits with 1.
"""

import argparse
import io
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from gradio_client import Client, handle_file
from PIL import Image
from server import AGE

ROOT = Path(__file__).parents[2]
VISITORS, FIRST = 4, 120.0  # at once; seconds that count as warming up
MAP = ROOT / "assets/examples/red-bob.png"
FACE = ROOT / "assets/examples/faces/red-bob.jpg"


def paints(url: str) -> None:
    """Who stays: a face, its label map, the figure of its experts."""
    client = Client(url, verbose=False)
    face, gating = client.predict(handle_file(MAP), "a woman", 7, 2, None, 1, None, "", api_name="/generate")
    client.predict(handle_file(face), True, api_name="/parse")
    client.predict(handle_file(gating), None, api_name="/gating")


def leaves(url: str) -> None:
    """In the middle of a run."""
    with httpx.Client(base_url=f"{url}/gradio_api", timeout=30) as http:
        event = http.post("/call/generate", json={"data": [None, "a man", 7, 50, None, 1, None, ""]}).json()["event_id"]
        with http.stream("GET", f"/call/generate/{event}") as response:
            next(response.iter_lines())


def never_listens(url: str) -> None:
    body = {"data": [None, "a man", 7, 50, None, 1, None, ""]}
    httpx.post(f"{url}/gradio_api/call/generate", json=body, timeout=30).raise_for_status()


def uploads(url: str) -> None:
    """Megabytes of noise that nobody asks for again."""
    noise = np.random.default_rng().integers(0, 255, (1000, 1000, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    httpx.post(f"{url}/gradio_api/upload", files={"files": ("photo.png", file.getvalue())}, timeout=30)


def breaks_off(url: str) -> None:
    """In the middle of an upload."""
    host, port = url.removeprefix("http://").split(":")
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + bytes(3_000_000)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + f"{len(part):x}\r\n".encode() + part + b"\r\n")


def sends_too_much(url: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(70):
            yield bytes(2**20)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = httpx.post(f"{url}/gradio_api/upload", content=chunks(), headers=headers, timeout=60)
    assert answer.status_code == 413, answer.status_code


KINDS: dict[Callable[[str], None], int] = {
    paints: 5, leaves: 3, never_listens: 1, uploads: 3, breaks_off: 2, sends_too_much: 1,
}  # fmt: skip


@contextmanager
def served() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("server.py")), str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def health(url: str, *, patience: float = 120) -> dict:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{url}/health", timeout=20)
            if answer.status_code == 200:
                return answer.json()
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"{url} is not well after {patience:.0f} s.")


def visit(url: str, until: float, counts: Counter) -> None:
    while time.monotonic() < until:
        (kind,) = random.choices(list(KINDS), weights=list(KINDS.values()))
        try:
            kind(url)
            counts[kind.__name__] += 1
        except Exception as error:  # counted, and told at the end
            counts[f"{kind.__name__}: {type(error).__name__} {str(error)[:60]}"] += 1


def row(what: str, told: dict, counts: Counter) -> None:
    megabytes = told["disk"]["visitors"] / 1e6, told["memory"]["process"] / 1e6
    queue = told["queue"]
    print(f"| {what} | {sum(counts.values())} | {queue['running']} + {queue['waiting']} | "
          f"{megabytes[0]:.1f} MB | {megabytes[1]:.0f} MB |", flush=True)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes, counts = parser.parse_args().minutes, Counter[str]()
    with served() as url:
        health(url)
        print("| when | visits | running + waiting | visitors' files | memory |\n|---|---|---|---|---|")
        start: dict = {}
        for what, seconds in (("first", FIRST), *(("", 60.0),) * round(minutes)):
            until = time.monotonic() + seconds
            visitors = [threading.Thread(target=visit, args=(url, until, counts)) for _ in range(VISITORS)]
            for visitor in visitors:
                visitor.start()
            for visitor in visitors:
                visitor.join()
            row(f"{what or 'another'} minute", health(url), counts)
            if what:
                time.sleep(AGE + 15)
                start = health(url)
                row("and all ages later", start, counts)
        time.sleep(AGE + 15)
        end = health(url)
        row("the end", end, counts)
    print("\n".join(f"{count:5} {kind}" for kind, count in counts.most_common()))
    grown = end["memory"]["process"] / start["memory"]["process"] - 1
    left = end["disk"]["visitors"] - start["disk"]["visitors"]
    print(f"memory {grown:+.1%}, files {left:+} bytes")
    return int(grown > 0.05 or left > 0.05 * max(start["disk"]["visitors"], 1) or end["queue"]["running"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
