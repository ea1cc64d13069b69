"""What a batch costs a job besides the drawing: `python -m tests.benchmarks.batch`, of 10,000 jobs of a dummy.

Counted is all from the start to the end of both processes: reading and checking jobs, starting a worker, handing jobs
over, encoding and writing pictures, journal and manifest; then a second run, that finds all there.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from tests.dummy_batch import dummy_batch, dummy_jobs

JOBS = 10_000


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        place, out = Path(folder, "jobs.jsonl"), Path(folder, "out")
        place.write_text("".join(json.dumps({"prompt": f"face {i}", "seed": i}) + "\n" for i in range(JOBS)))
        for what in ("made", "found there"):
            wall, cpu = time.perf_counter(), time.process_time()
            jobs = dummy_jobs(place)
            read = time.perf_counter() - wall
            outcome = dummy_batch(jobs, out)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            assert outcome.made == (JOBS if what == "made" else 0) and not outcome.failed
            print(
                f"{JOBS} jobs {what}: {1000 * wall / JOBS:.2f} ms each, of which reading the jobs "
                f"{1000 * read / JOBS:.2f}; {1000 * cpu / JOBS:.2f} ms of this process's own"
            )


if __name__ == "__main__":
    main()
