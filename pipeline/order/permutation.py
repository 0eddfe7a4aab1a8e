"""A stateless permutation: where element i goes, in O(1) memory for any size.

A balanced Feistel network permutes the smallest power-of-four domain that holds n; values that fall outside [0, n) walk
the cycle until they come back in, which happens after fewer than four rounds of walking on average. The round function
is the finaliser of SplitMix64. The mapping is part of the frozen sample order: changing it changes every golden table.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 6
_U64 = np.uint64
_MUL_1, _MUL_2, _GOLDEN = _U64(0xBF58476D1CE4E5B9), _U64(0x94D049BB133111EB), 0x9E3779B97F4A7C15
_MASK_64 = (1 << 64) - 1


def mix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns the finaliser of SplitMix64 of each number: a bijection that changes half of the bits for each bit changed."""
    x = (x ^ (x >> _U64(30))) * _MUL_1  # uint64 arrays wrap modulo 2**64 by definition
    x = (x ^ (x >> _U64(27))) * _MUL_2
    return x ^ (x >> _U64(31))


def permute(i: NDArray[np.int64], n: int, key: int) -> NDArray[np.int64]:
    """Returns the images of the elements i under the permutation of [0, n) that the key selects.

    Args:
        i: Elements, int64 of any shape, each in [0, n).
        n: Size of the permuted set, in [1, 2**62].
        key: 64-bit key, see `key64`.

    Returns:
        int64 array of i's shape, values in [0, n); distinct for distinct elements.

    Raises:
        ValueError: n is out of range or an element lies outside [0, n).
    """
    return permute_each(np.asarray(i, dtype=np.int64).ravel(), [np.size(i)], [n], [key]).reshape(np.shape(i))


def permute_each(i: NDArray[np.int64], lengths: Sequence[int], sizes: Sequence[int], keys: Sequence[int]) -> NDArray[np.int64]:
    """Returns the images of several runs of elements, each under a permutation of its own, in one pass over all of them.

    Args:
        i: The runs one after another, int64 [sum of lengths].
        lengths: Elements of each run.
        sizes: Size of the set that each run's permutation permutes, in [1, 2**62].
        keys: 64-bit key of each run's permutation.

    Raises:
        ValueError: A size is out of range or an element lies outside its set.
    """
    if not all(1 <= n <= 1 << 62 for n in sizes):
        raise ValueError(f"n must be in [1, 2**62], got {list(sizes)}")

    def spread(values: Sequence[int]) -> NDArray[np.uint64]:
        return np.repeat(np.array(values, dtype=np.uint64), lengths)

    n = spread(sizes)
    out = i.astype(np.uint64)
    if np.any(out >= n):  # negative ones have become huge
        raise ValueError(f"elements must be in [0, n) for n of {list(sizes)}, got values from {i.min()} to {i.max()}")
    half = spread([max(1, ((size - 1).bit_length() + 1) // 2) for size in sizes])
    round_keys = [spread([(key + (r + 1) * _GOLDEN) & _MASK_64 for key in keys]) for r in range(_ROUNDS)]
    out = _network(out, half, round_keys)
    outside = np.flatnonzero(out >= n)
    while outside.size:
        out[outside] = _network(out[outside], half[outside], [k[outside] for k in round_keys])
        outside = outside[out[outside] >= n[outside]]
    return out.astype(np.int64)


def _network(values: NDArray[np.uint64], half: NDArray[np.uint64], round_keys: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    mask = (_U64(1) << half) - _U64(1)
    left, right = values >> half, values & mask
    for round_key in round_keys:
        left, right = right, left ^ (mix64(right ^ round_key) & mask)
    return (left << half) | right
