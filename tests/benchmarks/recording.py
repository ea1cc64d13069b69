"""What recording the gating weights costs: `python tests/benchmarks/recording.py`, a ratio of times in one run."""

import statistics
import time

import numpy as np

from facemogle.checkpoints import load_pipeline
from facemogle.gating import NUM_EXPERTS

ROUNDS, STEPS, SIDE = 9, 4, 128


def main() -> None:
    pipeline = load_pipeline("mini")
    pipeline.set_progress_bar_config(disable=True)
    label_map = np.arange(SIDE**2).reshape(SIDE, SIDE) * (NUM_EXPERTS - 1) // SIDE**2

    def seconds(record: bool) -> float:
        start = time.perf_counter()
        pipeline(label_map=label_map, height=SIDE, width=SIDE, num_inference_steps=STEPS, record_gating=record)
        return time.perf_counter() - start

    seconds(True)
    ratios = [seconds(True) / seconds(False) for _ in range(ROUNDS)]  # one after the other: noise hits both
    print(f"with recording / without: {statistics.median(ratios):.3f} (median of {ROUNDS})")


if __name__ == "__main__":
    main()
