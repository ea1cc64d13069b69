"""How quick a face is beside another program, by how idle threads wait: `python tests/benchmarks/threads.py`.

Every setting has a process of its own; they take turns, with the machine to themselves and with one core taken, so
that what else the machine does meets them all alike. Printed: the median of a face in s, and of its ratio to the first
setting's face of the same round, quiet. Under `nice -n -20` little else interferes, where that is allowed.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "as shipped by torch": {},
    "spin 200": {"GOMP_SPINCOUNT": "200"},
    "spin 500": {"GOMP_SPINCOUNT": "500"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "spin 2000": {"GOMP_SPINCOUNT": "2000"},
    "spin 3000": {"GOMP_SPINCOUNT": "3000"},
    "spin 4000": {"GOMP_SPINCOUNT": "4000"},
    "spin 5000": {"GOMP_SPINCOUNT": "5000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


class Worker:
    """A process with mini in it, that makes a face when asked."""

    def __init__(self, environment: dict[str, str]):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            env=os.environ | environment,
        )  # fmt: skip

    def face(self) -> float:
        """Seconds that it took."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("face\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def serve() -> None:
    import torch

    sys.path.insert(0, str(ROOT))
    from facemogle import load_pipeline
    from facemogle.label_files import read_label_map

    pipeline = load_pipeline("mini", device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    label_map, _ = read_label_map(ROOT / "assets" / "examples" / "red-bob.png")
    for _ in sys.stdin:
        start = time.perf_counter()
        pipeline("a woman with red hair", label_map=label_map, generator=torch.Generator().manual_seed(7))
        print(time.perf_counter() - start, flush=True)


def take_core() -> None:
    while True:
        pass


def cell(seconds: list[float], first: list[float]) -> str:
    ratios = [one / other for one, other in zip(seconds, first, strict=True)]
    return f"{statistics.median(seconds):8.2f} s {statistics.median(ratios):5.2f} x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--pause", type=float, default=0, help="seconds after every face, for whoever else is here")
    parser.add_argument("--quiet", action="store_true", help="with the machine to themselves alone")
    parser.add_argument("--only", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    arguments = parser.parse_args()
    if arguments.serve:
        return serve()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, priority {os.nice(0)}", flush=True)
    workers = {name: Worker(SETTINGS[name]) for name in arguments.only}
    for worker in workers.values():
        worker.face()  # the first also sets things up
    places = ["quiet"] if arguments.quiet else ["quiet", "one core taken"]
    times = {place: {name: [] for name in workers} for place in places}
    for place, taken in times.items():
        other = multiprocessing.Process(target=take_core, daemon=True)
        for _ in range(arguments.rounds):
            for name, worker in workers.items():
                time.sleep(arguments.pause)
                if place == "one core taken":
                    other = multiprocessing.Process(target=take_core, daemon=True)
                    other.start()
                taken[name].append(worker.face())
                if other.is_alive():
                    other.terminate()
                    other.join()
    print(f"{'':22}{'quiet':>18}{'one core taken':>18}")
    for name in workers:
        print(f"{name:22}" + "".join(cell(taken[name], times["quiet"][arguments.only[0]]) for taken in times.values()))
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    main()
