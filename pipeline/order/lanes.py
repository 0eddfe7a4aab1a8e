"""Lanes and windows: how one epoch's sequence is cut so that batches mix and seeking stays cheap.

The epoch's sequence of N samples is cut into C lanes of equal length (up to one sample); every global batch takes the
same number of samples from each lane, so it mixes C places of the data set. A lane is a row of windows of W consecutive
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


def lane_bounds(num_samples: int, lanes: int, lane: int) -> tuple[int, int]:
    """Returns the positions [start, stop) of the epoch's sequence that form one lane."""
    return lane * num_samples // lanes, (lane + 1) * num_samples // lanes


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
