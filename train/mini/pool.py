"""What the workers made, on the device: the newest so many, drawn from at random."""

import time
from collections.abc import Callable

import psutil
import torch
from torch import Tensor

from train.mini.feeder import Feed

CHUNK, STAGES = 128, 3


class Pool:
    """`pool[name]` (capacity, ...), of which the first `len(pool)` rows are filled.

    derive: a chunk's arrays, on the device -> what is kept of them, and more.
    share: the most that it may take of the device's memory that is free now.
    """

    def __init__(
        self,
        feed: Feed,
        device: torch.device | str,
        *,
        capacity: int,
        share: float,
        derive: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda chunk: chunk,
    ):
        self.feed, self.device, self.derive = feed, torch.device(device), derive
        self.chunk = max(1, min(CHUNK, capacity // 2))
        pinned = self.device.type == "cuda"
        # Copies run on while the next chunk is gathered: each stage is free again once its own copy is over.
        self._stages = [
            {
                name: torch.empty((self.chunk, *shape), dtype=getattr(torch, dtype), pin_memory=pinned)
                for name, (shape, dtype) in feed.rings.spec.items()
            }
            for _ in range(STAGES)
        ]
        self._copied = [torch.cuda.Event() if pinned else None for _ in range(STAGES)]
        sample = derive({name: tensor[:1].zero_().to(self.device) for name, tensor in self._stages[0].items()})
        size = sum(tensor.nbytes for tensor in sample.values())
        self.capacity = max(self.chunk, min(capacity, int(share * free_memory(self.device)) // size))
        self._rows = {
            name: torch.zeros((self.capacity, *tensor.shape[1:]), dtype=tensor.dtype, device=self.device)
            for name, tensor in sample.items()
        }
        self.total = self._turn = 0

    def __len__(self) -> int:
        return min(self.total, self.capacity)

    def __getitem__(self, name: str) -> Tensor:
        return self._rows[name]

    @torch.no_grad()
    def refill(self, limit: int) -> int:
        """Take at most `limit` finished samples, and one chunk, from the workers -> how many; no wait for them.

        Where nothing is ready, workers that have died are replaced.
        """
        stage, copied = self._stages[self._turn % STAGES], self._copied[self._turn % STAGES]
        if copied is not None:
            copied.synchronize()
        count = self.feed.take({name: tensor.numpy() for name, tensor in stage.items()}, min(limit, self.chunk))
        if not count:
            self.feed.mend()
            return 0
        self._turn += 1
        chunk = {name: tensor[:count].to(self.device, non_blocking=True) for name, tensor in stage.items()}
        if copied is not None:
            copied.record()
        # Their places, from the oldest on; past the end they begin again at the front.
        places = (torch.arange(count, device=self.device) + self.total) % self.capacity
        for name, tensor in self.derive(chunk).items():
            self._rows[name][places] = tensor
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
