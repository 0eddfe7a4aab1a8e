"""Where a stream stands, and which epoch it is in while it is gone through with `for`."""

from collections.abc import Iterator


class Passes:
    """Counts batches and cuts them into passes; a batch belongs to the epoch that it begins in.

    Between two passes the epoch is that of the next batch. Within one it is the pass's own until the pass asks for what comes
    after its last batch: to the body of the loop, the last batch is one of the epoch that it ends.

    Args:
        num_samples: Samples of an epoch.
        batch_size: Samples of a global batch.
    """

    def __init__(self, num_samples: int, batch_size: int) -> None:
        self._num_samples, self._batch_size = num_samples, batch_size
        self.step = 0
        """The batch that comes next."""
        self._loads = 0
        self._shown: int | None = None
        self._shown_by: object = None

    @property
    def epoch(self) -> int:
        """The epoch of the pass under way, else the one that the next batch begins in; from 0."""
        return self._next_epoch() if self._shown is None else self._shown

    @property
    def num_batches(self) -> int:
        """Batches of this epoch, those already delivered included."""
        return self._first_step(self.epoch + 1) - self._first_step(self.epoch)

    def load(self, step: int) -> None:
        """Goes on from another batch; a pass under way ends with the epoch of that one.

        Args:
            step: The batch that comes next.
        """
        self.step, self._shown = step, None
        self._loads += 1

    def one_pass(self) -> Iterator[None]:
        """Comes round once for each batch left of the present epoch; whoever delivers it adds one to `step`."""
        # Passes may overlap, as a loop that was left halfway and is still referred to: none may end another's.
        this = object()
        loads, epoch = self._loads, self._next_epoch()
        try:
            while loads != self._loads or self.step < self._first_step(epoch + 1):
                if loads != self._loads:
                    loads, epoch = self._loads, self._next_epoch()
                self._shown, self._shown_by = epoch, this
                yield
        finally:
            if self._shown_by is this:
                self._shown = None

    def _next_epoch(self) -> int:
        return self.step * self._batch_size // self._num_samples

    def _first_step(self, epoch: int) -> int:
        """The first batch that begins in an epoch."""
        return -(-epoch * self._num_samples // self._batch_size)
