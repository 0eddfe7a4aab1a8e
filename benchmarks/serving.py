"""The measured side: a case in a process of its own that makes as many batches as it is asked for, and waits in between.

Nothing but the standard library and torch, for it runs in several environments.
"""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all cases have in common."""

    folder: str
    """Where the shards are, or their copy on a server."""
    extension: str
    side: int
    """Pixels."""
    workers: int = 2
    batch: int = 64
    device: str = "cpu"
    """Where the consumer wants its batches."""

    @classmethod
    def parse(cls, words: list[str]) -> "Setting":
        """From a command line: folder, extension, side, and then what may be left out."""
        folder, extension, side, *more = words
        found = cls(folder=folder, extension=extension, side=int(side))
        if more:
            workers, batch, device = more
            found = replace(found, workers=int(workers), batch=int(batch), device=device)
        return found

    @property
    def pin(self) -> bool:
        """Whether batches are wanted in page-locked memory."""
        return self.device != "cpu"

    def consume(self, images: torch.Tensor) -> int:
        """What the consumer does with a batch: copies it to the GPU where there is one; returns the number of images."""
        assert images.dtype == torch.uint8
        if self.pin:
            images.to(self.device, non_blocking=True)
        return len(images)


Batches = Callable[[], Iterator[int]]
"""Makes an endless iterator over batches; it yields the number of images in each."""


def serve(batches: Batches) -> None:
    """Reads numbers of images from standard input, one a line, makes at least so many and answers how many; 0 ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    endless = batches()
    for line in sys.stdin:
        wanted, seen = int(line), 0
        if not wanted:
            break
        while seen < wanted:
            seen += next(endless)
        print(seen, file=answers, flush=True)
    endless.close()  # pyright: ignore[reportAttributeAccessIssue]  # all cases are generators
