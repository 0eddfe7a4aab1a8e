"""Lanes and windows: how one epoch's sequence is cut so that batches mix and seeking stays cheap.

The epoch's sequence of N samples is cut into C lanes of equal length (up to one sample); every global batch takes the
same number of samples from each lane, so it mixes C places of the data set. Where C does not divide N, the longer lanes are
others in each epoch, so that all lanes end every epoch together: position p of lane c, counted through all epochs, is in epoch
(pC + c) // N, as if the stream's samples were dealt out to the lanes one by one. A lane is a row of windows of W consecutive
samples, shuffled inside. The first window of lane c is shortened to a share of W that grows with c: the lanes then reach
their window borders one after another, and reading is spread over time instead of coming in bursts.
"""

from dataclasses import dataclass

MAX_DEFAULT_LANES = 16


@dataclass(frozen=True, slots=True)
class WindowSpan:
    """One shuffle window: positions [start, stop) of a lane, counted from the lane's first sample."""

    index: int
    """Number of the window in its lane, from 0."""
    start: int
    """First position, inclusive."""
    stop: int
    """Last position, exclusive."""

    @property
    def length(self) -> int:
        """Samples in the window."""
        return self.stop - self.start


def default_lanes(batch_size: int, num_samples: int) -> int:
    """Returns the largest divisor of the batch size that is at most 16 and at most the number of samples."""
    limit = min(MAX_DEFAULT_LANES, batch_size, num_samples)
    return next(c for c in range(limit, 0, -1) if batch_size % c == 0)


def lane_bounds(num_samples: int, lanes: int, lane: int, epoch: int) -> tuple[int, int]:
    """Returns the positions [start, stop) of the epoch's sequence that form one lane."""
    before, after = divmod(epoch * num_samples, lanes), divmod((epoch + 1) * num_samples, lanes)
    # Of q * lanes + r samples dealt out, the first n lanes have n * q + min(n, r).
    first, last = (n * (after[0] - before[0]) + min(n, after[1]) - min(n, before[1]) for n in (lane, lane + 1))
    return first, last


def epoch_at(num_samples: int, lanes: int, lane: int, position: int) -> tuple[int, int]:
    """Returns the epoch of a lane's position, counted through all epochs, and the position at which that epoch begins there."""
    epoch = (position * lanes + lane) // num_samples
    return epoch, -(-(epoch * num_samples - lane) // lanes)


def window_at(offset: int, lane_length: int, window: int, lanes: int, lane: int) -> WindowSpan:
    """Returns the window that holds a position of a lane.

    Args:
        offset: Position in the lane, in [0, lane_length).
        lane_length: Samples in the lane.
        window: Window size W in samples, at least 1.
        lanes: Number of lanes C.
        lane: The lane, in [0, C).
    """
    first = max(1, (lane + 1) * window // lanes)
    if offset < first:
        return WindowSpan(0, 0, min(first, lane_length))
    index = (offset - first) // window
    start = first + index * window
    return WindowSpan(index + 1, start, min(start + window, lane_length))
