"""What every family's loss returns: one number a sample, and the named terms it is the sum of."""

import math
from dataclasses import dataclass

from torch import Tensor

from pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerms:
    """A loss per sample. Every number is a mean over the C*H*W dimensions of the image, so sizes can be compared."""

    total: Tensor
    """[B], the loss of each sample: the sum of the terms."""
    terms: dict[str, Tensor]
    """The named summands of the total, each [B]."""
    is_bound: bool
    """Whether the total is (an unbiased estimate of) the negative evidence lower bound, in nats per dimension, and not a
    reweighted loss whose value means nothing outside training."""

    def mean(self) -> Tensor:
        """Mean over the batch, a scalar: what is differentiated."""
        return self.total.mean()

    def bits_per_dim(self) -> Tensor:
        """Negative evidence lower bound in bits per dimension, [B]: the figure all families are compared by.

        Raises:
            ConfigError: The loss is a reweighted one, which has no unit.
        """
        if not self.is_bound:
            names = ", ".join(self.terms)
            raise ConfigError(f"bits per dimension: got a reweighted loss ({names}), expected a bound; evaluate with bound()")
        return self.total / math.log(2.0)


def sum_of(terms: dict[str, Tensor], *, is_bound: bool) -> LossTerms:
    """Loss whose total is the sum of the given terms, each [B]."""
    return LossTerms(total=sum(terms.values(), start=0.0 * next(iter(terms.values()))), terms=terms, is_bound=is_bound)
