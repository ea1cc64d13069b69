"""Visitors come, generate, upload and vanish, for ten minutes: `python tests/soak/soak.py [--minutes 10]`, by hand.

On the loopback address alone, with the bundled checkpoint. At the end, once all ages have passed, no session must be
left, and disk and memory be back within 5% of what they were at the start; else it exits with 1. The start is when all
kinds of visits have been there for two minutes and all ages have passed for the first time: by then what is loaded
with the first request of its kind is loaded (torch's workers and kernels, the parser and the finder of faces).
"""

import argparse
import base64
import io
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
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


def opens_the_page(url: str) -> None:
    """As a browser does: drops a photo, changes it, sees the face with all that belongs to it, and closes the page."""
    session = secrets.token_hex(5)
    with httpx.Client(base_url=f"{url}/gradio_api", timeout=60) as http, http.stream("GET", f"/heartbeat/{session}"):
        config = httpx.get(f"{url}/config", timeout=20).json()
        values = {each["id"]: each["props"].get("value") for each in config["components"]}
        ids = {each["props"].get("elem_id"): each["id"] for each in config["components"]}

        def serve(event: dict) -> None:
            """And what follows from it."""
            body = {"data": [values[each] for each in event["inputs"]], "fn_index": event["id"],
                    "session_hash": session, "trigger_id": event["targets"][0][0]}  # fmt: skip
            if event["backend_fn"] and not event["queue"]:
                http.post("/run/predict", json=body).raise_for_status()
            elif event["backend_fn"]:
                http.post("/queue/join", json=body).raise_for_status()
                with http.stream("GET", "/queue/data", params={"session_hash": session}) as response:
                    told = [line for line in response.iter_lines() if '"process_completed"' in line]
                assert len(told) == 1 and '"success":true' in told[0], told
            for each in config["dependencies"]:
                if each["trigger_after"] == event["id"] and not each["trigger_only_on_failure"]:
                    serve(each)

        def press(elem_id: str, name: str) -> None:
            for each in config["dependencies"]:
                if [ids[elem_id], name] in each["targets"]:
                    serve(each)

        values[ids["drop"]] = {"name": FACE.name, "file": base64.b64encode(FACE.read_bytes()).decode()}
        press("drop", "photo")
        values[ids["steps"]] = 2
        press("generate", "click")


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
    paints: 5, opens_the_page: 2, leaves: 3, never_listens: 1, uploads: 3, breaks_off: 2, sends_too_much: 1,
}  # fmt: skip
RUNS = paints, opens_the_page, leaves, never_listens


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


def visit(url: str, until: float, counts: Counter, kinds: Iterable[Callable[[str], None]]) -> None:
    for kind in kinds:
        if time.monotonic() > until:
            return
        try:
            kind(url)
            counts[kind.__name__] += 1
        except Exception as error:  # counted, and told at the end
            counts[f"{kind.__name__}: {type(error).__name__} {str(error)[:60]}"] += 1


def at_random() -> Iterator[Callable[[str], None]]:
    while True:
        yield from random.choices(list(KINDS), weights=list(KINDS.values()))


def row(what: str, told: dict, counts: Counter) -> None:
    queue, runs = told["queue"], sum(counts[kind.__name__] for kind in RUNS)
    megabytes = told["disk"]["visitors"] / 1e6, told["memory"]["process"] / 1e6
    print(f"| {what} | {sum(counts.values())} | {runs} | {queue['running']} + {queue['waiting']} | "
          f"{told['sessions']} | {megabytes[0]:.1f} MB | {megabytes[1]:.0f} MB |", flush=True)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes, counts = parser.parse_args().minutes, Counter[str]()
    with served() as url:
        health(url)
        print("| when | visits | of them runs | running + waiting | sessions | visitors' files | memory |")
        print("|---|---|---|---|---|---|---|")
        start: dict = {}
        for minute in range(round(minutes) + 1):
            until = time.monotonic() + (60 if minute else FIRST)
            visitors = [
                threading.Thread(target=visit, args=(url, until, counts, chain([] if minute else KINDS, at_random())))
                for _ in range(VISITORS)
            ]
            for visitor in visitors:
                visitor.start()
            for visitor in visitors:
                visitor.join()
            row(f"minute {minute}" if minute else "first", health(url), counts)
            if not minute:
                time.sleep(AGE + 15)
                start = health(url)
                row("all ages later, the start", start, counts)
        time.sleep(AGE + 15)
        end = health(url)
        row("all ages later, the end", end, counts)
    print("\n".join(f"{count:5} {kind}" for kind, count in counts.most_common()))
    grown = end["memory"]["process"] / start["memory"]["process"] - 1
    left = end["disk"]["visitors"] - start["disk"]["visitors"]
    print(f"memory {grown:+.1%}, files {left:+} bytes, {end['sessions']} sessions")
    busy = end["queue"]["running"] or end["sessions"]
    return int(grown > 0.05 or left > 0.05 * max(start["disk"]["visitors"], 1) or busy > 0)


if __name__ == "__main__":
    raise SystemExit(main())
