"""Walk the headers of many samples of a tar archive at once: the first members of all, then the second ones, and so on.

Where samples begin is known from the index, so one pass of array operations reads the next header of every sample. A window is
read this way several times faster than header by header. Only plain members are taken (ustar, v7 or GNU headers with short
names, and PAX records that change nothing): for everything else, and for everything suspicious, the answer is None, and
`walk_tar` has the last word and the precise error.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.shards.tar_header import BLOCK_BYTES

_OCTAL_DIGITS = 11
_WEIGHTS = 8 ** np.arange(_OCTAL_DIGITS - 1, -1, -1, dtype=np.int64)
_SUM_WEIGHTS = 8 ** np.arange(5, -1, -1, dtype=np.int64)
_FILE, _OLD_FILE, _PAX = ord("0"), 0, ord("x")
_CHANGES = (b"path=", b"size=", b"GNU.sparse")  # in a PAX record: what would change the member after it


class Members(NamedTuple):
    """The n-th members of those samples that have so many; entries of all four lists belong together."""

    rows: list[int]
    """Which sample."""
    names: list[bytes]
    """Path in the archive."""
    starts: list[int]
    """Where the member's data begins, in bytes."""
    stops: list[int]
    """Where it ends."""


def walk_samples(data: memoryview, begins: NDArray[np.int64]) -> list[Members] | None:
    """The regular files of consecutive samples, or None where one of them is not plain, or not what it should be.

    Args:
        data: A slice of the archive.
        begins: Where each sample begins in it, and where the last one ends, int64 [samples + 1], rising.
    """
    flat = np.frombuffer(data, np.uint8)
    if len(flat) != begins[-1] or (begins[1:] - begins[:-1] < BLOCK_BYTES).any():
        return None
    blocks = np.lib.stride_tricks.sliding_window_view(flat, BLOCK_BYTES)
    found: list[Members] = []
    rows, at, ends = np.arange(len(begins) - 1), begins[:-1], begins[1:]
    while len(rows):
        headers = blocks[at]
        sizes = _sizes(headers)
        if sizes is None:
            return None
        kinds = headers[:, 156]
        is_file = (kinds == _FILE) | (kinds == _OLD_FILE)
        starts = at + BLOCK_BYTES
        after = starts + -(-sizes // BLOCK_BYTES) * BLOCK_BYTES
        # The last header of a sample must be that of a file: a PAX record belongs to what follows it.
        if (after > ends).any() or (after[~is_file] == ends[~is_file]).any():
            return None
        if not is_file.all() and not _change_nothing(data, kinds[~is_file], starts[~is_file], sizes[~is_file]):
            return None
        if is_file.any():
            names = np.ascontiguousarray(headers[is_file, :100]).view("S100")[:, 0].tolist()
            if b"\0" in b"".join(names):
                return None
            stops = (starts + sizes)[is_file]
            found.append(Members(rows[is_file].tolist(), names, starts[is_file].tolist(), stops.tolist()))
        left = after < ends
        if (after[left] + BLOCK_BYTES > ends[left]).any():  # no header fits there: where the sample ends is wrong
            return None
        rows, at, ends = rows[left], after[left], ends[left]
    return found


def _sizes(headers: NDArray[np.uint8]) -> NDArray[np.int64] | None:
    """int64 [n]: the members' sizes, or None where a header is not plain or its checksum does not fit."""
    sums = headers.sum(axis=1, dtype=np.uint32) - headers[:, 148:156].sum(axis=1, dtype=np.uint32) + 8 * ord(" ")
    stated = _octal(headers[:, 148:154], _SUM_WEIGHTS)
    sizes = _octal(headers[:, 124:135], _WEIGHTS)
    if stated is None or sizes is None or (sums != stated).any():
        return None
    is_posix = (headers[:, 257:263] == np.frombuffer(b"ustar\0", np.uint8)).all(axis=1)
    has_prefix = is_posix & (headers[:, 345] != 0)
    # A name that fills its field, and a digit where size and checksum should end, go the careful way.
    ends = headers[:, [99, 135, 154, 155]]
    ends[ends == ord(" ")] = 0
    return None if ends.any() or (headers[:, 99] != 0).any() or has_prefix.any() else sizes


def _octal(digits: NDArray[np.uint8], weights: NDArray[np.int64]) -> NDArray[np.int64] | None:
    values = digits - ord("0")  # wraps around below "0"
    return None if (values > 7).any() else values @ weights


def _change_nothing(data: memoryview, kinds: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> bool:
    """Whether headers that are not those of files are PAX records that say nothing about the member after them."""
    if (kinds != _PAX).any():
        return False
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        record = bytes(data[start : start + size])
        if any(change in record for change in _CHANGES):
            return False
    return True
