"""A rank's end of the stream: its rows of each batch, asked for ahead of time and put together in row order."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, GetTimeoutError, RayTaskError

from pipeline.errors import NoAnswer, SwissrollError, TransientStorageError
from pipeline.order import Piece
from pipeline.runtime.loader import Answer, Target
from pipeline.stream import ImageSpec, Slot, SlotPool, batches_a_call, calls_in_flight
from pipeline.training import Batch

# Longer than Ray needs to notice a lost node and to restart its actors elsewhere; a hang beyond it is an error.
BATCH_TIMEOUT_S = 600.0
_IP = re.compile(r"\bip=([^,)]+)")


@dataclass(slots=True)
class _Call:
    """Batches that the loaders are asked for together."""

    step: int
    count: int
    slot: Slot
    refs: list[ObjectRef]
    is_clean: bool = True
    """Whether nobody can write to the slot once all loaders have answered."""


class BatchFeed(Iterator[Batch]):
    """Yields this rank's rows of global batches first, first + 1, ... and ends before `last`.

    A batch lies in memory that loaders on this node write to; it is used again only when no tensor over it is left.

    Args:
        loaders: All loader actors.
        pieces: The pieces of a batch that belong to this rank, in row order.
        image: What images are decoded to.
        first: First batch.
        last: The batch after the last one; None for no end.
        prefetch: Batches asked for in advance, at least; with `HANDOVER_BYTES` the bound on memory: no loader works further
            ahead.
        pin: Whether to put batches into page-locked memory, for asynchronous copies to CUDA.

    Raises:
        SwissrollError: What a loader found, in its own words, from `next`.
        TransientStorageError: A batch did not come in time.
        NoAnswer: A loader could not be made; one that dies later is made anew.
    """

    def __init__(
        self,
        loaders: list[ActorHandle],
        pieces: list[Piece],
        *,
        image: ImageSpec,
        first: int,
        last: int | None,
        prefetch: int,
        pin: bool,
    ) -> None:
        self._loaders, self._pieces, self._image = loaders, pieces, image
        self._next, self._last, self._pin, self._prefetch = first, last, pin, prefetch
        self._rows = sum(p.stop - p.start for p in pieces)
        self._most = batches_a_call(max(p.stop - p.start for p in pieces) * image.image_bytes)
        self._pool = SlotPool(self._most * self._rows * image.image_bytes, most_free=calls_in_flight(prefetch, self._most) + 1)
        self.step = first
        """Of the batch that comes next."""
        self._count = 1  # grows to the most: the first batch should not have to wait for others
        self._asked: deque[_Call] = deque()
        self._lives: dict[int, int] = {}
        self._ready: deque[Batch] = deque()
        self._ask()

    def __next__(self) -> Batch:
        if not self._ready:
            self._take()
        batch = self._ready.popleft()
        self.step += 1
        return batch

    def give_up(self) -> None:
        """To be called where nobody will take what is still on its way.

        Ray prints every error that nobody looked at. One damaged sample fails all batches asked for that hold it, so a mistake
        that was raised once would be printed over and over. A future looks at its answer once it is there; nobody waits for it.
        """
        for call in self._asked:
            for ref in call.refs:
                ref.future()

    def _take(self) -> None:
        """Waits for the next answer of every loader."""
        if not self._asked:
            raise StopIteration
        self._ask()
        call = self._asked[0]
        try:
            answers = cast(list[Answer], ray.get(call.refs, timeout=BATCH_TIMEOUT_S))
        except BaseException as error:  # Ctrl-C as well
            self.give_up()
            if isinstance(error, GetTimeoutError):
                loaders = ", ".join(f"loader-{p.loader}" for p in self._pieces)
                problem = f"batch {call.step} did not come within {BATCH_TIMEOUT_S:.0f} s"
                raise TransientStorageError(problem, loaders) from error
            if isinstance(error, RayTaskError) and isinstance(error.cause, SwissrollError):
                raise error.cause from None  # its text is complete; what is no error of ours keeps the loader's traceback
            if isinstance(error, ActorDiedError) and error.actor_init_failed:
                raise _not_made(error) from None
            raise
        self._asked.popleft()
        self._note_lives(call, answers)
        images = self._images(call, answers)
        labels, samples, epochs = (np.concatenate(column, axis=1) for column in zip(*(a[1:4] for a in answers), strict=True))
        for i in range(call.count):
            columns = (torch.from_numpy(column[i]) for column in (images, labels, samples, epochs))
            batch = Batch(**dict(zip(("images", "labels", "samples", "epochs"), columns, strict=True)))
            self._ready.append(batch.pinned() if self._pin else batch)

    def _ask(self) -> None:
        """Keeps `calls_in_flight` answers on their way, more of them while they are small."""
        fewest = calls_in_flight(self._prefetch, self._most)
        while self._last is None or self._next < self._last:
            if len(self._asked) >= fewest and sum(call.count for call in self._asked) > self._prefetch:
                return
            count = self._count if self._last is None else min(self._count, self._last - self._next)
            slot = self._pool.take()
            refs, first_row = [], 0
            for piece in self._pieces:
                target = None if slot.address is None else Target(slot.address, self._rows, first_row)
                loader = self._loaders[piece.loader]
                refs.append(loader.batches.remote(piece.start, piece.stop, self._next, count, target))
                first_row += piece.stop - piece.start
            self._asked.append(_Call(self._next, count, slot, refs))
            self._next += count
            self._count = min(2 * self._count, self._most)

    def _note_lives(self, call: _Call, answers: list[Answer]) -> None:
        """Gives up the slots that a loader had been told of before it was restarted.

        Of a loader whose node was given up for lost nobody knows that it is dead: it may wake and write what it was asked for.
        That is what its successor wrote, and does no harm until the slot is used for something else.
        """
        for piece, answer in zip(self._pieces, answers, strict=True):
            if self._lives.setdefault(piece.loader, answer.life) != answer.life:
                self._lives[piece.loader] = answer.life
                for asked in (call, *self._asked):
                    asked.is_clean = False

    def _images(self, call: _Call, answers: list[Answer]) -> NDArray[np.uint8]:
        """uint8 [count, rows, height, width, channels]: what is in the slot, completed by what had to travel."""
        size = call.count * self._rows * self._image.image_bytes
        memory = self._pool.lend(call.slot, reuse=call.is_clean)[:size]
        images = memory.reshape(call.count, self._rows, *self._image.shape)
        row = 0
        for piece, answer in zip(self._pieces, answers, strict=True):
            stop = row + piece.stop - piece.start
            if answer.images is not None:
                images[:, row:stop] = answer.images
            row = stop
        return images


def _not_made(error: ActorDiedError) -> NoAnswer:
    """The error for a loader whose start failed: Ray keeps but the text of a traceback, whose last line is the cause."""
    text = str(error).strip()
    place = _IP.search(text)
    where = f" on the node {place[1]}" if place else ""
    return NoAnswer(f"a loader could not be started{where}: {text.rpartition(chr(10))[2]}")
