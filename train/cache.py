"""Image latents, prompt embeddings and label maps, computed once, so that training needs neither pictures nor T5.

A cache is a folder of safetensors files with an index. It is made for one checkpoint, one size and one version of the
reading code, and refused for any other. Making it goes on where it was interrupted.

`latents` are the mode of the VAE's posterior, as `FaceMoGLEPipeline.encode_images` gives it; `prompt_embeds` keep their
padding, since T5 fills it with what depends on the prompt. All are in the dtype in which the pipeline computes them.
B samples, K captions, N image tokens, C channels, T text tokens, D and P widths; H, W pixels.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm

from facemogle.checkpoints import CheckpointError, load_pipeline
from facemogle.data.pairs import CLASSES_HELP, Pair, find_pairs, read_ids, read_pair
from facemogle.folders import own_folder
from facemogle.pipeline import FaceMoGLEPipeline
from train.bases import digest
from train.cache_files import (
    INDEX_FILE,
    cache_key,
    pair_facts,
    read_index,
    read_rows,
    require_same,
    require_space,
    unfinished,
    write_index,
    write_rows,
)
from train.data import EpochDataset

EMPTY_PROMPT_FILE = "empty-prompt.safetensors"

logger = logging.getLogger(__name__)


def write_cache(
    pipeline: FaceMoGLEPipeline,
    pairs: Sequence[Pair],
    folder: Path,
    *,
    height: int,
    width: int,
    model: str,
    shard: int = 32,
    batch: int = 8,
    workers: int = 1,
    on_error: str = "raise",
) -> None:
    """Cache pairs with all their captions, or go on with it. The pipeline needs no transformer.

    model: the checkpoint's name, by which training asks for the cache. shard: samples in a file. batch: pictures, and
    prompts, encoded at a time. workers: threads that read pictures. on_error: "raise", or "skip", which leaves out
    pairs that cannot be used.
    ValueError where the folder holds the cache of something else, OSError where the disk is too small for the rest,
    the folder cannot be written to, or another process is making it.
    """
    if on_error not in ("raise", "skip") or height % pipeline.pixels_per_token or width % pipeline.pixels_per_token:
        raise ValueError(
            f"on_error is 'raise' or 'skip', and height and width are multiples of {pipeline.pixels_per_token}; got "
            f"{on_error!r}, {height} and {width}."
        )
    folder = Path(folder)
    plan: dict[str, Sequence[Pair]] = {EMPTY_PROMPT_FILE: []}
    plan |= {f"{start:08d}.safetensors": pairs[start : start + shard] for start in range(0, len(pairs), shard)}
    key = cache_key(model, height, width, pipeline) | {
        "dtype": f"{pipeline.vae.dtype}, {pipeline.text_encoder_2.dtype}",
        "max_sequence_length": pipeline.config.max_sequence_length,
        "shard": shard,
        "pairs": digest(pair_facts(pair) for pair in pairs),
    }
    with own_folder(folder):
        index: dict[str, Any] = {"key": key, "plan": list(plan), "files": {}}
        if (folder / INDEX_FILE).is_file():
            index = read_index(folder)
            require_same(folder, index["key"], key)
        missing = unfinished(folder, index)
        with ThreadPoolExecutor(workers) as pool, tqdm(total=len(pairs), unit="face", disable=None) as progress:
            progress.update(sum(len(chosen) for file, chosen in plan.items() if file not in missing))
            for file in missing:
                samples = list(_read(plan[file], height, width, on_error, pool))
                captions = [caption for pair, *_ in samples for caption in pair.captions]
                if file == EMPTY_PROMPT_FILE:
                    captions = [""]
                write_rows(
                    folder / file, _encode_pictures(pipeline, samples, batch) | _encode(pipeline, captions, batch)
                )
                index["files"][file] = {
                    "names": [pair.name for pair, *_ in samples],
                    "captions": [len(pair.captions) for pair, *_ in samples],
                    "bytes": (folder / file).stat().st_size,
                }
                write_index(folder, index)
                require_space(folder, index)
                progress.update(len(plan[file]))


class CachedDataset(EpochDataset):
    """What `write_cache` wrote, read row by row; of a sample's captions, each epoch chooses one.

    pipeline: where given, those of its encoders that it has must be the ones that made the cache.
    `names` are the samples'; `empty_prompt` holds the prompt_embeds and pooled_prompt_embeds of "".
    ValueError for a cache of something else, an unfinished or a damaged one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: str,
        height: int,
        width: int,
        seed: int = 0,
        pipeline: FaceMoGLEPipeline | None = None,
    ):
        super().__init__(seed)
        self.folder = Path(folder)
        index = read_index(self.folder)
        require_same(self.folder, index["key"], cache_key(model, height, width, pipeline))
        if missing := unfinished(self.folder, index):
            raise ValueError(
                f"Of the {len(index['plan'])} files of the cache in {folder}, {len(missing)} are missing or cut short, "
                f"such as {missing[0]}. Run `python -m train.cache` again: it makes those alone."
            )
        self.names: list[str] = []
        self._places: list[tuple[str, int, int, int]] = []  # file, row, first caption, number of captions
        for file in index["plan"]:
            entry, first = index["files"][file], 0
            self.names += entry["names"]
            for row, number in enumerate(entry["captions"]):
                self._places.append((file, row, first, number))
                first += number
        if not self.names:
            raise ValueError(f"The cache in {folder} holds no samples: none of its pictures could be used.")
        self.empty_prompt = self._embeddings(EMPTY_PROMPT_FILE, 0)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """-> name, latents (N, C), label_map (H, W) uint8, prompt_embeds (T, D), pooled_prompt_embeds (P,)."""
        index = range(len(self))[index]
        file, row, first, number = self._places[index]
        sample = {"name": self.names[index], **read_rows(self.folder / file, latents=row, label_map=row)}
        if not number:
            return sample | self.empty_prompt
        return sample | self._embeddings(file, first + int(self.draws(index).integers(number)))

    def _embeddings(self, file: str, row: int) -> dict[str, Tensor]:
        return read_rows(self.folder / file, prompt_embeds=row, pooled_prompt_embeds=row)


Sample = tuple[Pair, np.ndarray, np.ndarray]  # its image (H, W, 3) and label map (H, W)


def _read(pairs: Sequence[Pair], height: int, width: int, on_error: str, pool: ThreadPoolExecutor) -> Iterator[Sample]:
    futures = [pool.submit(read_pair, pair, height=height, width=width) for pair in pairs]
    for pair, future in zip(pairs, futures, strict=True):
        try:
            yield pair, *future.result()
        except ValueError as error:
            if on_error == "raise":
                raise
            logger.warning(f"Left out: {error}")


def _encode_pictures(pipeline: FaceMoGLEPipeline, samples: Sequence[Sample], batch: int) -> dict[str, Tensor]:
    """-> latents (B, N, C), label_map (B, H, W); nothing of no samples."""
    if not samples:
        return {}
    images = torch.from_numpy(np.stack([image for _, image, _ in samples])).permute(0, 3, 1, 2)
    latents = torch.cat([pipeline.encode_images(part.float() / 255).cpu() for part in images.split(batch)])
    if not latents.isfinite().all():
        raise ValueError(f"The VAE gave NaN or infinity in {pipeline.vae.dtype}. Use bfloat16 or float32.")
    return {"latents": latents, "label_map": torch.from_numpy(np.stack([label_map for *_, label_map in samples]))}


def _encode(pipeline: FaceMoGLEPipeline, captions: Sequence[str], batch: int) -> dict[str, Tensor]:
    """-> prompt_embeds (K, T, D), pooled_prompt_embeds (K, P); nothing of no captions."""
    if not captions:
        return {}
    length = pipeline.config.max_sequence_length
    parts = [captions[start : start + batch] for start in range(0, len(captions), batch)]
    encoded = [[each.cpu() for each in pipeline.encode_prompt(part, max_sequence_length=length)] for part in parts]
    prompt_embeds, pooled_prompt_embeds = (torch.cat(column) for column in zip(*encoded, strict=True))
    return {"prompt_embeds": prompt_embeds, "pooled_prompt_embeds": pooled_prompt_embeds}


def load_encoders(checkpoint: str) -> FaceMoGLEPipeline:
    """A checkpoint without what a cache does not need, on CUDA where there is one."""
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    pipeline = load_pipeline(checkpoint, dtype=dtype, device="cpu")
    pipeline.transformer = None
    pipeline.mogle = None
    return pipeline.to(device)


def main(argv: Sequence[str] | None = None) -> int:
    """-> the exit code: 0, 2 after an error of the user's, 130 after Ctrl+C."""
    parser = argparse.ArgumentParser(prog="python -m train.cache", description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="ROOT", help="faces, masks, captions; see train/README.md")
    add("--checkpoint", default="mini", help="whose encoders to use (default: mini)")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the cache is, or will be")
    add("--size", type=_size, metavar="HxW", help="of the pictures (default: the checkpoint's)")
    add("--ids", type=Path, metavar="FILE", help="cache only these: a text file of names, one a line")
    add("--classes", metavar="NAME", help=CLASSES_HELP)
    add("--captions", type=int, metavar="N", help="the first N of each face (default: all); FLUX's take 4 MB each")
    add("--workers", type=int, default=os.cpu_count(), metavar="N", help="threads that read pictures")
    add("--on-error", choices=("raise", "skip"), default="raise", help="skip: leave out what cannot be used")
    arguments = parser.parse_args(argv)
    try:
        pairs = find_pairs(arguments.data, ids=arguments.ids and read_ids(arguments.ids), classes=arguments.classes)
        pairs = [replace(pair, captions=pair.captions[: arguments.captions]) for pair in pairs]
        pipeline = load_encoders(arguments.checkpoint)
        height, width = arguments.size or (pipeline.config.height, pipeline.config.width)
        write_cache(
            pipeline,
            pairs,
            arguments.out,
            height=height,
            width=width,
            model=arguments.checkpoint,
            workers=arguments.workers,
            on_error=arguments.on_error,
        )
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    except (CheckpointError, ValueError, OSError, SafetensorError) as error:
        print(f"train.cache: {error}", file=sys.stderr)
        return 2
    entries = read_index(arguments.out)["files"].values()
    faces, size = sum(len(entry["names"]) for entry in entries), sum(entry["bytes"] for entry in entries)
    print(f"{arguments.out}: {faces} faces of {height}x{width}, {size / 1e9:.2f} GB, for {arguments.checkpoint}.")
    return 0


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width or height)


if __name__ == "__main__":
    sys.exit(main())
