"""What step caches, and condition rows of every 2nd or 4th step, cost and save with mini.

`python -m tests.benchmarks.step_caches [STEPS]`.

Beside the plain run of the same seeds and label maps: the share of the blocks' rows that are computed, the difference
of the latents in their own norm, and that of the pictures' values, 0 to 1, on average.
"""

import statistics
import sys
from pathlib import Path

import torch

from facemogle import load_pipeline
from facemogle.label_files import read_label_map
from facemogle.step_caches import NAMES

ROOT = Path(__file__).parents[2]
SEEDS = range(2)


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    pipeline = load_pipeline("mini", device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    maps = [read_label_map(file).label_map for file in sorted((ROOT / "assets" / "examples").glob("*.png"))[:4]]
    height, width = pipeline.config.height, pipeline.config.width
    calls = []
    for block in pipeline.transformer.blocks():
        block.attn.to_q.register_forward_hook(lambda module, arguments, output: calls.append(output.shape[1]))

    def run(label_map, seed: int):
        calls.clear()
        generator = torch.Generator().manual_seed(seed)
        latents = pipeline(
            "a face", label_map=label_map, num_inference_steps=steps, generator=generator, output_type="latent"
        ).images
        return latents, pipeline.decode_latents(latents, height, width, "pt"), sum(calls)

    plain = [run(label_map, seed) for label_map in maps for seed in SEEDS]
    print(f"mini, {steps} steps, {len(plain)} pictures: rows computed, latents, pictures (mean, greatest mean of one)")
    for name in (*NAMES, 2, 4):
        if isinstance(name, int):
            pipeline.disable_step_cache()
            pipeline.enable_condition_refresh(name)
        else:
            pipeline.enable_step_cache(name)
            run(maps[0], 99)  # which magnitude learns from
        fast = [run(label_map, seed) for label_map in maps for seed in SEEDS]
        share = statistics.mean(own[2] / other[2] for own, other in zip(fast, plain, strict=True))
        latents = [float((a[0] - b[0]).norm() / b[0].norm()) for a, b in zip(fast, plain, strict=True)]
        pixels = [float((a[1] - b[1]).abs().mean()) for a, b in zip(fast, plain, strict=True)]
        means = statistics.mean(latents), statistics.mean(pixels), max(pixels)
        print(f"{name!s:<12} {share:6.0%} {means[0]:8.3f} {means[1]:8.4f} {means[2]:8.4f}")


if __name__ == "__main__":
    main()
