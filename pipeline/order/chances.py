"""Random choices that belong to a sample: where it is cut, whether it is mirrored."""

import numpy as np
from numpy.typing import NDArray

from pipeline.order.keys import key64
from pipeline.order.permutation import mix64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def chances(seed: int, purpose: str, epoch: int, samples: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Returns uniform numbers for each sample: a function of (seed, purpose, epoch, sample), never of batch, rank or loader.

    SplitMix64 from a key that hashes seed, purpose and epoch; sample s takes the numbers s * count and following.

    Args:
        seed: Seed of the run.
        purpose: What is chosen, so that two choices for one sample share nothing.
        epoch: Pass over the data: the same sample gets other numbers in another.
        samples: Numbers of the samples, int64 [n].
        count: Numbers for each sample.

    Returns:
        float64 [n, count] in [0, 1), multiples of 2**-53.
    """
    key = np.uint64(key64(seed, purpose, epoch))
    place = samples.astype(np.uint64)[:, None] * np.uint64(count) + np.arange(1, count + 1, dtype=np.uint64)
    return (mix64(key + place * _GOLDEN) >> np.uint64(11)).astype(np.float64) * 2.0**-53
