"""A rank's end of the stream: its rows of each batch, asked for ahead of time and put together in row order."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import cast

import ray
import torch
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError

from pipeline.errors import TransientStorageError
from pipeline.order import Piece
from pipeline.stream import BatchArrays, concatenate
from pipeline.training import Batch

# Longer than Ray needs to notice a lost node and to restart its actors elsewhere; a hang beyond it is an error.
BATCH_TIMEOUT_S = 600.0


class BatchFeed(Iterator[Batch]):
    """Yields this rank's rows of global batches first, first + 1, ... and ends before `last`.

    Args:
        loaders: All loader actors.
        pieces: The pieces of a batch that belong to this rank, in row order.
        first: First batch.
        last: The batch after the last one.
        prefetch: Batches asked for in advance; also the bound on memory: no loader works further ahead.
        pin: Whether to put batches into page-locked memory, for asynchronous copies to CUDA.
    """

    def __init__(
        self, loaders: list[ActorHandle], pieces: list[Piece], *, first: int, last: int, prefetch: int, pin: bool
    ) -> None:
        self._loaders, self._pieces = loaders, pieces
        self._next, self._last, self._pin = first, last, pin
        self._asked: deque[tuple[int, Sequence[ObjectRef]]] = deque()
        for _ in range(prefetch):
            self._ask()

    def __next__(self) -> Batch:
        if not self._asked:
            raise StopIteration
        step, refs = self._asked.popleft()
        self._ask()
        try:
            parts = cast(list[BatchArrays], ray.get(list(refs), timeout=BATCH_TIMEOUT_S))
        except GetTimeoutError as error:
            loaders = ", ".join(f"loader-{p.loader}" for p in self._pieces)
            raise TransientStorageError(f"batch {step} did not come within {BATCH_TIMEOUT_S:.0f} s", loaders) from error
        return self._to_torch(concatenate(parts))

    def _ask(self) -> None:
        if self._next < self._last:
            refs = [self._loaders[p.loader].batch.remote(p.start, p.stop, self._next) for p in self._pieces]
            self._asked.append((self._next, refs))
            self._next += 1

    def _to_torch(self, rows: BatchArrays) -> Batch:
        # Arrays from the object store are read-only and shared; torch wants memory of its own.
        tensors = [torch.from_numpy(column.copy()) for column in rows]
        if self._pin:
            tensors = [t.pin_memory() for t in tensors]
        return Batch(images=tensors[0], labels=tensors[1], samples=tensors[2], epochs=tensors[3])
