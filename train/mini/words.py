"""What captions mean: the text encoders learn to tell a portrait's attributes from its caption, before any picture.

Pictures teach slowly which word colours what; here a caption is enough, and a step takes milliseconds.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.mini.config import MiniConfig
from train.mini.loop import fit, load_average
from train.mini.samples import Samples
from train.mini.text import TextEncoders, load_encoders, training_ids
from train.mini.vae import autocast
from train.objective import ConditionDropout

ATTRIBUTES = (
    "person", "age", "skin", "hair_style", "hair_colour", "eye_colour", "expression", "glasses", "hat", "hat_colour",
    "earrings", "necklace", "beard", "lipstick", "clothes", "clothes_colour", "background_colour", "light",
)  # fmt: skip


def attribute_ids(attributes: list[dict]) -> tuple[Tensor, list[int]]:
    """N portraits' attributes -> class ids (N, A) and how many classes each of the A attributes has."""
    values = [[told(portrait, name) for portrait in attributes] for name in ATTRIBUTES]
    classes = [sorted(set(column)) for column in values]
    columns = [[names.index(value) for value in column] for names, column in zip(classes, values, strict=True)]
    return torch.tensor(columns).T, [len(names) for names in classes]


def told(attributes: dict, name: str) -> str:
    """The value of an attribute that a caption could tell: a hat that is absent has no colour."""
    return "none" if name == "hat_colour" and attributes["hat"] == "none" else attributes[name]


def rarity(values: Tensor, num_values: list[int]) -> Tensor:
    """(N, A) ids of attributes' values -> (N,) how much a portrait's values are underrepresented, on average 1.

    A value that is shown by its fair share of the portraits counts 1, by half of that 2. Few wear a hat of a given
    colour: drawn evenly, they are seen too seldom for the words on them to be learned.
    """
    counts = [torch.bincount(column, minlength=number) for column, number in zip(values.T, num_values, strict=True)]
    fair = [len(values) / number / count.clamp(min=1) for count, number in zip(counts, num_values, strict=True)]
    return torch.stack([each[column] for each, column in zip(fair, values.T, strict=True)]).mean(0)


class AttributeHeads(nn.Module):
    """Read every attribute from the pooled text, and from the sequence through one attention query an attribute."""

    def __init__(self, width: int, classes: list[int]):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(classes), width) / width**0.5)
        self.of_pooled = nn.ModuleList(nn.Linear(width, count) for count in classes)
        self.of_sequence = nn.ModuleList(nn.Linear(width, count) for count in classes)

    def forward(self, sequence: Tensor, pooled: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(B, L, W), (B, W) -> for each attribute its logits (B, classes), from the pooled text and the sequence."""
        attention = (sequence @ self.queries.T).softmax(dim=1)
        read = attention.mT @ sequence
        return [
            (head(pooled), other(read[:, index]))
            for index, (head, other) in enumerate(zip(self.of_pooled, self.of_sequence, strict=True))
        ]


def train_words(samples: Samples, config: MiniConfig) -> None:
    """Only the encoders are kept. An attribute that a caption leaves out is learned as its frequency.

    Encoders of a checkpoint to go on from stay near what they said there, which its transformer has learned to read.
    """
    targets, classes = attribute_ids(samples.attributes)
    row_weight = rarity(targets, classes) ** config.attribute_balance
    with torch.random.fork_rng():
        torch.manual_seed(config.seed + 6)
        encoders, heads = TextEncoders(config), AttributeHeads(config.text_width, classes)
    if config.start_from.is_dir():
        load_encoders(encoders, config.start_from)
    encoders.to(config.device)
    heads.to(config.device)
    before = deepcopy(encoders).requires_grad_(False) if config.start_from.is_dir() else None
    everything = ConditionDropout(text=0.0)

    def loss_of(generator: torch.Generator, step: int) -> Tensor:
        rows = torch.multinomial(row_weight, config.words_batch, generator=generator)
        choices = torch.randint(config.captions_per_portrait, (config.words_batch,), generator=generator).tolist()
        captions = [samples.captions[row][choice] for row, choice in zip(rows.tolist(), choices, strict=True)]
        ids = training_ids(encoders, captions, generator, dropout=everything, unknown=config.unknown_words)
        clip_ids, t5_ids = (each.to(config.device) for each in ids)
        with autocast(config.device):
            said = encoders(clip_ids, t5_ids)
            logits = heads(*said)
        wanted = targets[rows].to(config.device).T
        losses = [
            F.cross_entropy(read.float(), target) for pair, target in zip(logits, wanted, strict=True) for read in pair
        ]
        loss = torch.stack(losses).mean()
        if before:
            with torch.no_grad(), autocast(config.device):
                kept = before(clip_ids, t5_ids)
            loss += config.words_anchor * sum(map(F.mse_loss, said, kept))
        return loss

    fit(
        config.folder / "words",
        {"text": encoders, "heads": heads},
        loss_of,
        steps=config.words_steps,
        learning_rate=config.words_learning_rate,
        seed=config.seed + 6,
        settings=config.settings_of("words"),
        checkpoint_seconds=config.checkpoint_seconds,
    )


def load_words(config: MiniConfig) -> TextEncoders:
    """The encoders of this stage; without it, those of the checkpoint to go on from."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        encoders = TextEncoders(config)
    if config.start_from.is_dir() and not (config.folder / "words").exists():
        load_encoders(encoders, config.start_from)
    else:
        load_average(config.folder / "words", {"text": encoders})
    return encoders.to(config.device)
