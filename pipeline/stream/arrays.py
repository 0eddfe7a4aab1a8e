"""Rows of a batch as plain arrays, the form in which they travel between processes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class BatchArrays(NamedTuple):
    """Consecutive rows of one global batch."""

    images: NDArray[np.uint8]
    """uint8 [rows, height, width, channels]."""
    labels: NDArray[np.int64]
    """int64 [rows]; -1 where no label was asked for."""
    samples: NDArray[np.int64]
    """Number of each sample in the data set, int64 [rows]."""
    epochs: NDArray[np.int64]
    """Epoch of each row, int64 [rows]."""


def concatenate(parts: Sequence[BatchArrays]) -> BatchArrays:
    """Returns the rows of several parts one after another; a single part is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    return BatchArrays(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
