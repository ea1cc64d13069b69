"""A hundred visitors at once: `python tests/soak/hundred.py [--visitors 100]`, by hand; see soak.py.

Each wants a face of a seed of its own, and tries again where it is refused. It exits with 1 where a face is lost or
another visitor's, or a refusal took more than six seconds or gave no reason.
"""

import argparse
import io
import statistics
import sys
import threading
import time
from pathlib import Path

import httpx
from soak import health, served

sys.path.insert(0, str(Path(__file__).parents[2]))

from facemogle.picture_files import read_settings

SLOWEST = 6.0  # seconds until a refusal is said
PATIENCE = 600.0


class Visitor(threading.Thread):
    def __init__(self, url: str, seed: int):
        super().__init__()
        self.url, self.seed = url, seed
        self.refusals: list[tuple[float, str]] = []
        self.waited, self.seen = 0.0, -1  # seconds, and the seed of the face that came

    def run(self) -> None:
        start = time.monotonic()
        with httpx.Client(base_url=f"{self.url}/gradio_api", timeout=PATIENCE) as http:
            event = ""
            while not event and time.monotonic() - start < PATIENCE:
                asked = time.monotonic()
                body = {"data": [None, f"visitor {self.seed}", self.seed, 2, None, 1, None, ""]}
                answer = http.post("/call/generate", json=body)
                if answer.status_code == 200:
                    event = answer.json()["event_id"]
                else:
                    self.refusals.append((time.monotonic() - asked, answer.text))
                    time.sleep(3)
            with http.stream("GET", f"/call/generate/{event}") as response:
                lines = [line for line in response.iter_lines() if line]
            if lines[-2] == "event: complete":
                face = httpx.Response(200, content=lines[-1].removeprefix("data: ")).json()[0]
                settings = read_settings(io.BytesIO(http.get(face["url"]).content))
                if settings and settings.prompt == f"visitor {self.seed}":
                    self.seen = settings.seed
        self.waited = time.monotonic() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visitors", type=int, default=100)
    with served() as url:
        health(url)
        visitors = [Visitor(url, seed) for seed in range(parser.parse_args().visitors)]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join()
    refusals = [refusal for visitor in visitors for refusal in visitor.refusals]
    lost = sum(visitor.seen == -1 for visitor in visitors)
    mixed = sum(visitor.seen not in (-1, visitor.seed) for visitor in visitors)
    slowest = max((seconds for seconds, _ in refusals), default=0.0)
    silent = sum("Try again" not in text and "Queue is full" not in text for _, text in refusals)
    waits = [visitor.waited for visitor in visitors]
    print(f"{len(visitors)} visitors: {lost} lost, {mixed} mixed up; waited {statistics.median(waits):.0f} s")
    print(f"{len(refusals)} refusals, the slowest after {slowest:.1f} s, {silent} without a reason")
    return int(lost > 0 or mixed > 0 or slowest > SLOWEST or silent > 0)


if __name__ == "__main__":
    raise SystemExit(main())
