"""Steps that look at the condition rows as an earlier step left them: their keys and values, layer by layer.

In full attention the condition rows change with the image's, though little: their timestep is always 0. A step that
keeps them computes the text's and the image's rows alone, of FLUX.1-dev's 2,560 rows at 512x512 1,536.

B batch, R rows, H heads, d channels of a head.
"""

import torch
from torch import Tensor, nn


class ConditionMemory:
    """Keys and values (B, R, H, d) of the condition rows by their attention layer."""

    def __init__(self) -> None:
        self.kept: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    @property
    def num_rows(self) -> int:
        return next((key.shape[1] for key, _ in self.kept.values()), 0)

    def complete(self, layer: nn.Module, key: Tensor, value: Tensor, num_condition_rows: int) -> tuple[Tensor, Tensor]:
        """Keep those of the condition rows, the last, where they are computed; put the kept ones there where not."""
        if num_condition_rows:
            self.kept[layer] = key[:, -num_condition_rows:].clone(), value[:, -num_condition_rows:].clone()
            return key, value
        kept_key, kept_value = self.kept[layer]
        return torch.cat([key, kept_key], dim=1), torch.cat([value, kept_value], dim=1)
