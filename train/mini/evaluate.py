"""Does the bundled checkpoint obey? Unseen label maps and captions in, the parser's reading of the pictures out."""

import re
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from facemogle.checkpoints import load_parser
from facemogle.evaluation.attributes import COLOURS, ColourTable, told
from facemogle.evaluation.readings import PLACES
from facemogle.gating import EXPERTS, locality
from facemogle.labels import CLASS_ID, NAMES, to_colours
from facemogle.overlap import confusion, intersection_over_union
from facemogle.parsing.mini import MiniParser
from facemogle.pipeline import FaceMoGLEPipeline
from train.mini import measures, samples
from train.mini.config import MiniConfig
from train.mini.edits import measure_edits
from train.mini.latent_code import binary_masks, psnr, to_tensor

BATCH = 4
SWAPPED = ("hair colour", "clothes colour", "background colour")
NECKLACE_PIXELS = 4
TIMED = 20  # portraits whose gating over the steps is measured


@dataclass(frozen=True)
class Drawn:
    """N pictures (N, S, S, 3) uint8 and the gating ratio's parts in every step (N, steps, 19, 2)."""

    images: np.ndarray
    ratios: np.ndarray
    seconds: float  # a picture


def draw(pipeline: FaceMoGLEPipeline, captions: Sequence[str], label_maps: Sequence[np.ndarray] | None) -> Drawn:
    """One picture for each caption, seeded by its place; without label maps, from the words alone."""
    images, ratios = [], []
    started = time.monotonic()
    for start in range(0, len(captions), BATCH):
        texts = list(captions[start : start + BATCH])
        maps = None if label_maps is None else list(label_maps[start : start + BATCH])
        generators = [torch.Generator().manual_seed(start + row) for row in range(len(texts))]
        result = pipeline(texts, label_map=maps, generator=generators, record_gating=True)
        assert result.gating is not None
        images += [np.asarray(image) for image in result.images]
        for image, label_map in enumerate(maps or ()):
            ratios.append(locality(result.gating, label_map, image=image))
    return Drawn(np.stack(images), np.array(ratios), (time.monotonic() - started) / len(captions))


def read(
    parser: MiniParser, images: np.ndarray, wanted: np.ndarray, captions: Sequence[str], colours: ColourTable
) -> dict:
    """Overlap with the wanted label maps and agreement with the captions, as the parser sees the pictures."""
    label_maps = np.stack(parser.parse(list(images)))
    iou = intersection_over_union(confusion(label_maps, wanted))
    verdicts = [measures.agreement(*case, colours) for case in zip(images, label_maps, captions, strict=True)]
    inventions = [measures.invented(*case) for case in zip(label_maps, wanted, strict=True)]
    return {
        "mean IoU": round(float(np.nanmean(iou)), 3),
        "IoU": by_class(iou, 3),
        "agrees with the prompt": {name: round(share, 3) for name, share in measures.shares(verdicts).items()},
        "told by so many": {name: sum(name in verdict for verdict in verdicts) for name in measures.shares(verdicts)},
        "invented": {name: round(share, 3) for name, share in measures.shares(inventions).items()},
    }


def by_class(values: np.ndarray, digits: int) -> dict[str, float]:
    return {name: round(float(value), digits) for name, value in zip(NAMES, values, strict=True)}


def swap(caption: str, seed: int) -> tuple[str, str] | None:
    """The caption with one colour word changed, and whose it was; None if it has no such word."""
    rng = np.random.default_rng(seed)
    for name in rng.permutation(SWAPPED):
        words, nouns = COLOURS[name]
        pattern = rf"\b({words.replace(' ', '|')}) (?=({nouns})\b)"
        if found := re.search(pattern, caption):
            other = rng.choice([word for word in words.split() if word != found[1]])
            swapped = re.sub(pattern, f"{other} ", caption, count=1)
            if told(swapped)[name] == other:  # not where another word tells the old one too, as "redhead"
                return swapped, str(name)
    return None


def measure_swaps(
    pipeline: FaceMoGLEPipeline,
    parser: MiniParser,
    images: np.ndarray,
    portraits: samples.Samples,
    colours: ColourTable,
) -> dict:
    """One colour word changed under the same map and seed: what changes, and where. Differences are in 0..1."""
    pairs = [swap(captions[0], row) for row, captions in enumerate(portraits.captions)]
    captions = [pair[0] if pair else own[0] for pair, own in zip(pairs, portraits.captions, strict=True)]
    swapped = draw(pipeline, captions, list(portraits.label_maps)).images
    label_maps = parser.parse(list(swapped))
    changed, elsewhere = [], []
    for row, pair in enumerate(pairs):
        if pair is None:
            continue
        named = np.isin(portraits.label_maps[row], [CLASS_ID[each] for each in PLACES[pair[1]]])
        difference = abs(swapped[row] / 255 - images[row] / 255).mean(-1)
        elsewhere.append(difference[~named].mean())
        changed.append(measures.agreement(swapped[row], label_maps[row], captions[row], colours).get(pair[1], False))
    return {
        "cases": len(changed),
        "shows the new colour": round(float(np.mean(changed)), 3),
        "mean absolute difference elsewhere": round(float(np.mean(elsewhere)), 4),
    }


def code(pipeline: FaceMoGLEPipeline, pictures: np.ndarray, *, batch: int = 8) -> np.ndarray:
    """(N, S, S, 3) uint8 through the VAE and back."""
    (height, width), drawn = pictures.shape[1:3], []
    for start in range(0, len(pictures), batch):
        pixels = torch.from_numpy(pictures[start : start + batch]).permute(0, 3, 1, 2) / 255
        drawn.append(pipeline.decode_latents(pipeline.encode_images(pixels), height, width, "np"))
    return (np.concatenate(drawn) * 255).round().astype(np.uint8)


def measure_code(pipeline: FaceMoGLEPipeline, portraits: samples.Samples) -> dict:
    """PSNR in dB of the VAE, on what it has to code."""
    class_ids = np.resize(np.arange(1, len(NAMES)), len(portraits))
    kinds = {
        "portraits": portraits.images,
        "palette maps": to_colours(portraits.label_maps),
        "binary masks": binary_masks(portraits.label_maps, class_ids),
    }
    return {
        name: round(psnr(to_tensor(code(pipeline, pictures)), to_tensor(pictures)), 1)
        for name, pictures in kinds.items()
    }


def measure_necklace(pipeline: FaceMoGLEPipeline, portraits: samples.Samples) -> dict:
    """Does a necklace of 4 pixels (of 256) survive the condition's code? Linear probes on the tokens of two experts."""
    experts = ["global", "necklace"]
    rows = [EXPERTS.index(name) for name in experts]
    tokens, present = [], []
    size = portraits.label_maps.shape[1]
    for label_map in portraits.label_maps:
        drawn = np.ascontiguousarray(np.where(label_map == CLASS_ID["necklace"], CLASS_ID["neck"], label_map))
        thickness = max(1, round(NECKLACE_PIXELS * size / 256))
        centre, axes = (size // 2, round(0.86 * size)), (round(0.16 * size), round(0.1 * size))
        cv2.ellipse(drawn, centre, axes, 0, 0, 180, CLASS_ID["necklace"], thickness)
        tokens.append(pipeline.encode_label_map(drawn, size, size)[rows].float().cpu().numpy())
        side = pipeline.pixels_per_token
        covered = (drawn == CLASS_ID["necklace"]).reshape(size // side, side, size // side, side).sum((1, 3))
        present.append(covered.ravel() >= thickness**2)
    by_expert = zip(experts, np.concatenate(tokens, axis=1), strict=True)
    return {name: round(measures.probe_accuracy(each, np.concatenate(present)), 3) for name, each in by_expert}


def measure_time(pipeline: FaceMoGLEPipeline, portraits: samples.Samples) -> dict:
    """Does the gating heed the time? Mean total variation between the first step's weights and the last's, over tokens.

    Beside it, that between two portraits' first steps; and what each expert's weight changes by, on average.
    """
    first, last = [], []
    for row, (label_map, captions) in enumerate(zip(portraits.label_maps, portraits.captions, strict=True)):
        generator = torch.Generator().manual_seed(row)
        gating = pipeline(captions[0], label_map=label_map, generator=generator, record_gating=True).gating
        assert gating is not None
        first.append(gating.over_steps()[0])
        last.append(gating.over_steps()[-1])
    others = np.roll(first, 1, axis=0)
    changes = abs(np.array(last) - np.array(first)).mean((0, 2, 3))
    return {
        "cases": len(portraits),
        "first to last step": round(float(np.mean(list(map(measures.total_variation, first, last)))), 4),
        "between portraits": round(float(np.mean(list(map(measures.total_variation, first, others)))), 4),
        "by expert": {name: round(float(change), 4) for name, change in zip(EXPERTS, changes, strict=True)},
    }


def evaluate(
    pipeline: FaceMoGLEPipeline, portraits: samples.Samples, config: MiniConfig
) -> tuple[dict, dict[str, np.ndarray]]:
    """Measure on unseen portraits -> the figures, and the pictures."""
    few = portraits.first(config.few_cases)
    parser = load_parser(device=config.device)
    seen = samples.load(config, "train", limit=config.seen_cases)
    colours = measures.learn_colours(seen)
    captions = [each[0] for each in portraits.captions]
    label_maps = list(portraits.label_maps)
    both = draw(pipeline, captions, label_maps)
    map_only = draw(pipeline, [""] * len(few), label_maps[: len(few)])
    text_only = draw(pipeline, captions[: len(few)], None)
    # Not to the portraits whose maps were drawn: pairs are closer than two samples of one distribution.
    seen_features = measures.features(parser, seen.images)
    distances = {
        name: round(measures.kernel_distance(measures.features(parser, pictures), seen_features), 4)
        for name, pictures in (
            ("mini", both.images),
            ("VAE alone", code(pipeline, portraits.images)),
            ("true portraits", portraits.images),
        )
    }
    ratios = np.nanmean(both.ratios, axis=0)  # (steps, 19, 2)
    networks = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    figures = {
        "cases": len(portraits),
        "cases of the other runs": len(few),
        "size": config.size,
        "parameters": sum(parameter.numel() for network in networks for parameter in network.parameters()),
        "seconds per image": round(both.seconds, 2),
        "peak memory in GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "text and map": read(parser, both.images, portraits.label_maps, captions, colours),
        "true portraits": read(parser, portraits.images, portraits.label_maps, captions, colours),
        "map only": read(parser, map_only.images, few.label_maps, [""] * len(few), colours),
        "text only": read(parser, text_only.images, few.label_maps, captions[: len(few)], colours)[
            "agrees with the prompt"
        ],
        "one colour word swapped": measure_swaps(pipeline, parser, both.images[: len(few)], few, colours),
        "kernel distance": distances,
        "edits": measure_edits(pipeline, parser, config),
        "VAE in dB": measure_code(pipeline, few),
        "linear probe finds a thin necklace, by expert": measure_necklace(pipeline, portraits),
        "gating over the steps": measure_time(pipeline, few.first(TIMED)),
        "gating inside / outside": by_class(ratios.mean(0)[:, 0] / ratios.mean(0)[:, 1], 2),
        "gating inside / outside, by step": {
            name: [round(float(inside / outside), 2) for inside, outside in ratios[:, index]]
            for index, name in enumerate(NAMES)
        },
    }
    return figures, {"text and map": both.images, "map only": map_only.images, "text only": text_only.images}
