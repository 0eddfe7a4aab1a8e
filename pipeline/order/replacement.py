"""Which sample stands in for one that cannot be decoded."""

from pipeline.order.keys import key64


def replacement(seed: int, epoch: int, sample: int, attempt: int, num_samples: int) -> int:
    """Returns the number of the sample that takes the place of a damaged one.

    A function of its arguments alone, so every loader finds the same, whoever reads the sample and however often.

    Args:
        seed: Seed of the order.
        epoch: Epoch of the row that is to be filled.
        sample: The sample that belongs there.
        attempt: 0; 1, 2, ... where the replacements before turned out to be damaged themselves.
        num_samples: Samples to choose from.

    Returns:
        An integer in [0, num_samples); it may be `sample` itself, in which case the caller asks for the next attempt.
    """
    return key64(seed, "replacement", epoch, sample, attempt) % num_samples
