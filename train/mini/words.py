"""What captions mean: beside drawing, the text encoders learn to tell a portrait's attributes from its caption.

Pictures alone teach slowly which word colours what, and bind colours to the wrong nouns. B batch, L tokens, W width, A
attributes, V the most values that one has.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.mini.rarity import ATTRIBUTES, UNHEARD_OF, Rarity


class AttributeHeads(nn.Module):
    """Read every attribute from the pooled text, and from the sequence through one attention query an attribute."""

    def __init__(self, width: int, rarity: Rarity):
        super().__init__()
        shape = len(ATTRIBUTES), max(map(len, rarity.factors.values())), width
        self.queries = nn.Parameter(torch.randn(len(ATTRIBUTES), width) / width**0.5)
        self.of_pooled = nn.Parameter(torch.randn(shape) / width**0.5)
        self.of_sequence = nn.Parameter(torch.randn(shape) / width**0.5)

    def forward(self, sequence: Tensor, pooled: Tensor) -> Tensor:
        """(B, L, W), (B, W) -> logits (2, B, A, V), from the pooled text and from the sequence."""
        attention = (sequence @ self.queries.T).softmax(dim=1)
        read = torch.einsum("bla,blw->baw", attention, sequence)
        from_pooled = torch.einsum("bw,avw->bav", pooled, self.of_pooled)
        return torch.stack([from_pooled, torch.einsum("baw,avw->bav", read, self.of_sequence)])


def words_loss(logits: Tensor, attributes: Tensor, silent: Tensor) -> Tensor:
    """(2, B, A, V) logits, (B, A) values' numbers, (B,) samples whose caption was dropped -> mean cross entropy.

    An attribute that a caption leaves out is learned as its frequency.
    """
    wanted = torch.where(silent[:, None], UNHEARD_OF, attributes.long())
    counted = 2 * (wanted != UNHEARD_OF).sum().clamp(min=1)
    both = wanted.expand(2, *wanted.shape).flatten()
    return F.cross_entropy(logits.float().flatten(0, 2), both, ignore_index=UNHEARD_OF, reduction="sum") / counted
