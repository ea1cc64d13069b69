"""Does an expert act where its class is? `python -m tests.benchmarks.expert_effects`: ten minutes on two cores.

Twenty portraits that mini has not seen are drawn by it from their maps and captions, and again without each of the 19
local experts. Counted is how often the muted expert's class changes more, on average over its pixels, than the rest.
"""

import argparse

import numpy as np
import torch
from tqdm import tqdm

from facemogle import load_pipeline
from facemogle.gating import EXPERTS
from facemogle.labels import NAMES
from train.mini import samples
from train.mini.config import MiniConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=20, metavar="N")
    parser.add_argument("--steps", type=int, default=4, metavar="N")
    arguments = parser.parse_args()
    portraits = samples.load(MiniConfig(), "test", limit=arguments.portraits)
    pipeline = load_pipeline("mini")
    pipeline.set_progress_bar_config(disable=True)
    values = []
    for seed, label_map in enumerate(tqdm(portraits.label_maps)):
        effects = pipeline.expert_effects(
            portraits.captions[seed][0],
            label_map=label_map,
            num_inference_steps=arguments.steps,
            experts=EXPERTS[1:],
            generator=torch.Generator().manual_seed(seed),
        )
        values.append(effects.inside_outside(label_map))
    inside, outside = np.stack(values).transpose(2, 0, 1)  # (portraits, 19) each
    print(f"{'class':<12} {'portraits':>9} {'inside':>8} {'outside':>8} {'inside more':>12}")
    ahead = 0
    for number, name in enumerate(NAMES):
        there = np.isfinite(inside[:, number])
        one, other = inside[there, number], outside[there, number]
        ahead += bool(one.mean() > other.mean()) if there.any() else 0
        means = f"{one.mean():8.2%} {other.mean():8.2%}" if there.any() else f"{'-':>8} {'-':>8}"
        print(f"{name:<12} {there.sum():>9} {means} {(one > other).sum():>12}")
    print(f"inside more than outside, on average: {ahead} of {len(NAMES)} classes")


if __name__ == "__main__":
    main()
