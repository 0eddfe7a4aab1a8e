"""KL warm-up: in the first steps of training the latent layers of a VAE cost less, so that they learn to carry information.

The bound is a reconstruction term plus what each layer costs, kl_1 to kl_L. From fresh weights z_k is little more than noise
to the layer below, which learns to do without it sooner than q(z_k | z_{k-1}) learns to say something; from then on nothing
rewards saying it, and the layer stays empty although the bound would be tighter with it. So kl_k counts beta^k, with beta
rising to 1 in equal steps. One beta for all layers would do for z_1 alone: what z_k is paid in is kl_{k-1}, the quality of
p(z_{k-1} | z_k), so kl_k must weigh less than that, as the powers do. From the last step of the warm-up on the loss is the
bound, and evaluation never knows another.

Ref: Sønderby et al. 2016, arXiv 1602.02282 (warm-up with one beta, empty upper layers); Bowman et al. 2016, arXiv 1511.06349.
"""

from collections.abc import Sequence

from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families.terms import LossTerms, sum_of


def warmed_up(reconstruction: Tensor, kls: Sequence[Tensor], step: int | None, warmup_steps: int) -> LossTerms:
    """reconstruction + sum of beta^k kl_k, the terms as they are weighed; a bound where beta is 1.

    Args:
        reconstruction: [B], -log p(x | z_1).
        kls: kl_1 to kl_L, each [B].
        step: Optimiser steps done before this one; None for the bound itself.
        warmup_steps: Steps until beta is 1; 0 or 1 for a beta of 1 from the first on.
    """
    beta = 1.0 if step is None else min(1.0, (step + 1) / max(1, warmup_steps))
    terms = {"reconstruction": reconstruction, **{f"kl_{k}": beta**k * kl for k, kl in enumerate(kls, start=1)}}
    return sum_of(terms, is_bound=beta == 1.0)


def check_warmup_steps(field: str, warmup_steps: int) -> None:
    """Refuses a negative number of steps.

    Raises:
        ConfigError: Names the field and the value.
    """
    if warmup_steps < 0:
        raise ConfigError(f"{field}: got {warmup_steps}, expected at least 0")
