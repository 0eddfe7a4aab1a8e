"""A rank's end of the stream: its rows of each batch, asked for ahead of time and put together in row order."""

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import ray
import torch
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError

from pipeline.errors import TransientStorageError
from pipeline.order import Piece
from pipeline.stream import BatchArrays, batches_a_call
from pipeline.training import Batch

# Longer than Ray needs to notice a lost node and to restart its actors elsewhere; a hang beyond it is an error.
BATCH_TIMEOUT_S = 600.0


@dataclass(slots=True)
class _Call:
    """Batches that the loaders are asked for together."""

    step: int
    count: int
    refs: Sequence[ObjectRef]


class BatchFeed(Iterator[Batch]):
    """Yields this rank's rows of global batches first, first + 1, ... and ends before `last`.

    Args:
        loaders: All loader actors.
        pieces: The pieces of a batch that belong to this rank, in row order.
        image_bytes: Size of a decoded image.
        first: First batch.
        last: The batch after the last one; None for no end.
        prefetch: Batches asked for in advance, at least; with `HANDOVER_BYTES` the bound on memory: no loader works further
            ahead.
        pin: Whether to put batches into page-locked memory, for asynchronous copies to CUDA.
    """

    def __init__(
        self,
        loaders: list[ActorHandle],
        pieces: list[Piece],
        *,
        image_bytes: int,
        first: int,
        last: int | None,
        prefetch: int,
        pin: bool,
    ) -> None:
        self._loaders, self._pieces = loaders, pieces
        self._next, self._last, self._pin, self._prefetch = first, last, pin, prefetch
        self._most = batches_a_call(max(p.stop - p.start for p in pieces) * image_bytes)
        self._count = 1  # grows to the most: the first batch should not have to wait for others
        self._asked: deque[_Call] = deque()
        self._parts: list[BatchArrays] = []
        self._step = first
        self._left = 0
        self._ask()

    def __next__(self) -> Batch:
        if not self._left:
            self._take()
        part = len(self._parts[0].images) // (self._pieces[0].stop - self._pieces[0].start) - self._left
        self._left -= 1
        return self._batch(part)

    def _take(self) -> None:
        """Waits for the next answer of every loader."""
        if not self._asked:
            raise StopIteration
        call = self._asked.popleft()
        self._ask()
        self._parts = []  # lets go of the last answer, so that its memory is free for those to come
        try:
            self._parts = cast(list[BatchArrays], ray.get(list(call.refs), timeout=BATCH_TIMEOUT_S))
        except GetTimeoutError as error:
            loaders = ", ".join(f"loader-{p.loader}" for p in self._pieces)
            raise TransientStorageError(f"batch {call.step} did not come within {BATCH_TIMEOUT_S:.0f} s", loaders) from error
        self._left = call.count

    def _ask(self) -> None:
        """Keeps at least two answers and `prefetch` batches on their way: one that is made while one is used."""
        while self._last is None or self._next < self._last:
            if len(self._asked) >= 2 and sum(call.count for call in self._asked) >= self._prefetch:
                return
            count = self._count if self._last is None else min(self._count, self._last - self._next)
            refs = [self._loaders[p.loader].batches.remote(p.start, p.stop, self._next, count) for p in self._pieces]
            self._asked.append(_Call(self._next, count, refs))
            self._next += count
            self._count = min(2 * self._count, self._most)

    def _batch(self, number: int) -> Batch:
        """Puts together the batch that is `number` in the answers at hand."""
        rows = [p.stop - p.start for p in self._pieces]
        cuts = [[column[number * n : (number + 1) * n] for column in part] for part, n in zip(self._parts, rows, strict=True)]
        images, labels, samples, epochs = (self._column([cut[i] for cut in cuts]) for i in range(4))
        return Batch(images=images, labels=labels, samples=samples, epochs=epochs)

    def _column(self, parts: list[np.ndarray]) -> torch.Tensor:
        if len(parts) == 1 and not self._pin:
            # The object store's own memory, which Ray marks as not to be written to because others may read the object.
            # Nobody does: a piece is made for one rank and asked for once.
            return torch.from_numpy(parts[0])
        first = torch.from_numpy(parts[0])
        whole = torch.empty((sum(map(len, parts)), *first.shape[1:]), dtype=first.dtype, pin_memory=self._pin)
        np.concatenate(parts, out=whole.numpy())
        return whole


def _warn_now() -> None:
    """Has torch's one warning about arrays that are not writable said where nobody hears it; see `BatchFeed._column`."""
    array = np.zeros(1, np.uint8)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(array)


_warn_now()
