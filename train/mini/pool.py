"""What the workers made, on the device: the newest so many, drawn from at random."""

import time
from collections.abc import Callable

import psutil
import torch
from torch import Tensor

from train.mini.feeder import Feed, Sample

CHUNK = 128
Derive = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class Pool:
    """`pool[name]` (capacity, ...), of which the first `len(pool)` rows are filled.

    derive: a chunk's arrays, on the device -> what is kept of them, and more.
    share: the most that it may take of the device's memory that is free now.
    """

    def __init__(self, feed: Feed, device: str, *, capacity: int, share: float, derive: Derive = lambda chunk: chunk):
        self.feed, self.device, self.derive, self.total = feed, torch.device(device), derive, 0
        self.chunk = max(1, min(CHUNK, capacity // 2))
        sample = self._rows_of({name: array[None] for name, array in feed.sample.items()})
        size = sum(tensor.nbytes for tensor in sample.values())
        self.capacity = max(self.chunk, min(capacity, int(share * free_memory(self.device)) // size))
        self._rows = {name: tensor.new_zeros(self.capacity, *tensor.shape[1:]) for name, tensor in sample.items()}

    def __len__(self) -> int:
        return min(self.total, self.capacity)

    def __getitem__(self, name: str) -> Tensor:
        return self._rows[name]

    @torch.no_grad()
    def _rows_of(self, samples: Sample) -> dict[str, Tensor]:
        tensors = {name: torch.from_numpy(array) for name, array in samples.items()}
        if self.device.type == "cuda":  # copied while this process goes on
            tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
        return self.derive({name: tensor.to(self.device, non_blocking=True) for name, tensor in tensors.items()})

    def refill(self, limit: int) -> int:
        """Take at most `limit` finished samples, and one chunk, from the workers -> how many; no wait for them."""
        samples = self.feed.take(min(limit, self.chunk))
        count = len(next(iter(samples.values()), ()))
        if count:
            # Their places, from the oldest on; past the end they begin again at the front.
            places = (torch.arange(count, device=self.device) + self.total) % self.capacity
            for name, rows in self._rows_of(samples).items():
                self._rows[name][places] = rows
            self.total += count
        return count

    def gather(self, count: int) -> "Pool":
        """Wait until it holds so many."""
        while self.total < count:
            if not self.refill(count):
                time.sleep(0.05)
        return self


def free_memory(device: torch.device) -> int:
    """In bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
