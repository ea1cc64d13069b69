"""What a training step costs: `python -m tests.benchmarks.training`, on the mini base, as ratios in one run.

Against the same step fed as the published code feeds it: twenty masks a sample as floats of the picture's size, and in
every step the text encoders on the prompts and the VAE on the picture and on all of the masks, empty ones too. mini is
small in all its parts, its VAE's encoder most of all: for FLUX.1-dev, the operations of both ways are counted.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from facemogle.data.pairs import find_pairs
from facemogle.label_files import write_label_map
from facemogle.labels import NUM_CLASSES
from facemogle.masks import condition_images
from facemogle.pipeline import image_ids
from facemogle.random_flux import FLUX_PARTS
from train.building import Trained, load_base
from train.cache import CachedDataset, load_encoders, write_cache
from train.conditions import classes_present
from train.config import TrainingConfig, read_config
from train.counting import build, inputs, with_blocks, without_values
from train.data import FaceDataset
from train.mini.portraits import caption, render, sample_attributes
from train.objective import TrainingBatch
from train.run import Run

FACES, SIDE, BATCH, STEPS, ROUNDS = 16, 256, 4, 4, 3
WAYS = ("ours", "reference")


class FloatMasks(Dataset):
    """A sample as the published loader hands it on: the picture and twenty masks, three channels each, as floats."""

    def __init__(self, faces: FaceDataset):
        self.faces = faces

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.faces[index]
        masks = torch.from_numpy(condition_images(sample["label_map"].numpy())).float()
        return {"image": sample["image"].float() / 255, "masks": masks, "caption": sample["caption"]}


def counted(loader: Iterator[dict[str, Any]], sizes: list[int]) -> Iterator[dict[str, Any]]:
    """The same batches, whose bytes are noted."""
    for batch in loader:
        sizes.append(sum(value.nbytes for value in batch.values() if isinstance(value, Tensor)))
        yield batch


def reference_step(run: Run, loader: Iterator[dict[str, Any]]) -> None:
    """Encode everything, then the same loss, clipping and optimiser as ours."""
    pipeline, collated = run.pipeline, next(loader)
    with torch.no_grad():
        latents = pipeline.encode_images(collated["image"])
        masks = pipeline.encode_images(collated["masks"].flatten(0, 1)).unflatten(0, (BATCH, -1))
        length = pipeline.config.max_sequence_length
        prompt_embeds, pooled = pipeline.encode_prompt(collated["caption"], max_sequence_length=length)
    tokens = SIDE // pipeline.pixels_per_token
    batch = TrainingBatch(
        latents, prompt_embeds, pooled, image_ids(tokens, tokens), torch.zeros(prompt_embeds.shape[1], 3), masks
    )
    run.accelerator.backward(run.model(batch, torch.randn_like(latents), torch.rand(BATCH)))
    nn.utils.clip_grad_norm_(run.parameters, run.config.max_gradient_norm)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)


def prepare(folder: Path) -> None:
    """Portraits as files, and the cache of them."""
    for name in ("face", "mask", "text"):
        (folder / name).mkdir()
    for seed in range(FACES):
        draws = np.random.default_rng(seed)
        portrait = sample_attributes(draws)
        image, label_map = render(portrait, size=SIDE)
        Image.fromarray(image).save(folder / "face" / f"{seed}.png")
        write_label_map(folder / "mask" / f"{seed}.png", label_map)
        (folder / "text" / f"{seed}.txt").write_text(caption(portrait, draws))
    pairs, pipeline = find_pairs(folder), load_encoders("mini")
    write_cache(pipeline, pairs, folder / "cache", height=SIDE, width=SIDE, model="mini")


def measure(way: str, folder: Path) -> dict[str, float]:
    """In a process of its own, for the sake of its peak memory; in one thread, whose time others cannot take."""
    torch.set_num_threads(1)
    folders = (str(folder / "cache"), "") if way == "ours" else ("", str(folder))
    config = TrainingConfig(
        checkpoint="mini", cache=folders[0], data=folders[1], height=SIDE, width=SIDE, batch=BATCH, optimizer="adamw",
        learning_rate=1e-4, rank=32, alpha=32.0, precision="float32", workers=0, validation_samples=0,
        validation_every=0, validation_pictures=0,
    )  # fmt: skip
    pipeline = load_base(config, "cpu")
    sizes: list[int] = []
    if way == "ours":
        cached = CachedDataset(folder / "cache", model="mini", height=SIDE, width=SIDE)
        run = Run(config, pipeline, cached, Accelerator(cpu=True))
        step, loader = run.take_step, counted(run.loader(), sizes)
    else:
        faces = FaceDataset(find_pairs(folder), height=SIDE, width=SIDE)
        run = Run(config, pipeline, faces, Accelerator(cpu=True))
        step = partial(reference_step, run)
        loader = counted(iter(DataLoader(FloatMasks(faces), batch_size=BATCH)), sizes)
    step(loader)  # the first one allocates
    times = []
    for _ in range(STEPS - 1):
        start = time.process_time()
        step(loader)
        times.append(time.process_time() - start)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {
        "samples a second of one core": BATCH / statistics.median(times),
        "MB a sample through the loader": statistics.median(sizes) / BATCH / 1e6,
        "GB of memory at most": int(peak.split()[1]) / 2**20,
    }


def counted_for_flux(present: float) -> Iterator[str]:
    """Operations of a sample with FLUX.1-dev at 512x512, whose masks have `present` classes on average.

    The blocks of a kind cost the same: counted is a model with one of each, and what one more of each adds.
    """
    config = replace(read_config(Path("train/configs/flux.yaml")), batch=1)
    parts = FLUX_PARTS

    def step(double: int, single: int, checkpointing: bool) -> int:
        setting = replace(config, gradient_checkpointing=checkpointing)
        pipeline = build(with_blocks(parts, double, single), setting, "meta")
        trained = Trained(pipeline, setting)
        with FlopCounterMode(display=False) as counter:
            given = inputs(parts, setting, pipeline.pixels_per_token, "meta")
            functional_call(trained, without_values(trained, "meta"), given).backward()
        return counter.get_total_flops()

    def steps(checkpointing: bool) -> float:
        one, double, single = (step(*blocks, checkpointing) for blocks in ((1, 1), (2, 1), (1, 2)))
        numbers = (parts["transformer"][name] - 1 for name in ("num_layers", "num_single_layers"))
        return one + sum(number * (more - one) for number, more in zip(numbers, (double, single), strict=True))

    encoders = build(with_blocks(parts, 1, 1), replace(config, cache="", data="pictures"), "meta")
    length = parts["pipeline"]["max_sequence_length"]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoders.text_encoder_2(torch.zeros(1, length, dtype=torch.long, device="meta"))
        text = counter.get_total_flops()
        encoders.vae.encoder(torch.zeros(1, 3, config.height, config.width, dtype=torch.bfloat16, device="meta"))
        picture = counter.get_total_flops() - text
    published = steps(True) + text + (2 + NUM_CLASSES) * picture
    for checkpointing in (True, False):
        ours = steps(checkpointing) + (1 + present) * picture
        name = "with" if checkpointing else "without"
        yield (
            f"{published / ours:8.3f} x fewer operations for FLUX.1-dev, {name} gradient checkpointing here: "
            f"{ours / 1e12:.1f} 10^12 a sample, not {published / 1e12:.1f}; {present:.1f} classes a map"
        )


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        rounds = []
        for _ in range(ROUNDS):  # one after the other: noise of the machine hits both
            command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.training"]
            printed = [subprocess.check_output([*command, way, folder], text=True).splitlines()[-1] for way in WAYS]
            rounds.append([json.loads(line) for line in printed])
        faces = FaceDataset(find_pairs(Path(folder)), height=SIDE, width=SIDE)
        maps = torch.stack([faces[index]["label_map"] for index in range(FACES)])
    for name in rounds[0][0]:
        ours, reference = (statistics.median(each[way][name] for each in rounds) for way in (0, 1))
        ratio = statistics.median(each[0][name] / each[1][name] for each in rounds)
        print(f"{ratio:8.3f} x the reference's way   {name}: {ours:.3g}, not {reference:.3g}")
    print(*counted_for_flux(float(classes_present(maps).sum(1).float().mean())), sep="\n")


if __name__ == "__main__":
    main()
