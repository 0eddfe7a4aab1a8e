"""The loop that every sampler runs: evaluate the network, update by one row of the table; it never waits for the device."""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families.family import Network
from pipeline.families.sampler_rows import SamplerRow
from pipeline.families.sampler_tables import SamplerTable

StepNoise = Callable[[int], Tensor]
"""noise(row) -> standard normal, shape of x. Keyed by sample index and row, it makes sample i independent of its batch."""
OnStep = Callable[[int, Tensor, Tensor], None]
"""on_step(row, x after the row, clipped view of x_0 in the row); the tensors must not be written to."""


@torch.no_grad()
def sample(
    network: Network,
    table: SamplerTable,
    x_T: Tensor,
    labels: Tensor | None,
    *,
    guidance: float = 1.0,
    null_label: int | None = None,
    noise: StepNoise | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Samples x_0, shape and dtype of x_T; within [-1, 1] if the table clips.

    Args:
        network: The trained network.
        table: From `sampler_table`, for the network's prediction and schedule.
        x_T: [B, C, H, W] standard normal noise, float32 or float64; it is not changed.
        labels: int64 [B], or None for an unconditional network.
        guidance: w of classifier-free guidance, `out = uncond + w (cond - uncond)`. At 1 the network runs once a row on
            B images; otherwise once on 2B.
        null_label: The label that means "no label"; needed when guidance is not 1.
        noise: Fresh noise by row number; needed by samplers that add noise (ancestral, DDIM with eta > 0), ignored by others.
        on_step: Called after every row.

    Raises:
        ConfigError: Guidance without labels or null label, or a sampler that adds noise without a source of it.

    Ref: Ho & Salimans 2022, arXiv 2207.12598, eq. 6 (guidance, with w counted from 1).
    """
    if guidance != 1.0 and (labels is None or null_label is None):
        missing = "labels" if labels is None else "a null label"
        raise ConfigError(f"sample: got guidance={guidance} without {missing}, expected both labels and a null label")
    if noise is None and any(row.on_noise > 0.0 for row in table.rows):
        raise ConfigError("sample: got no noise for a sampler that adds some, expected a function of the row number")
    if labels is not None and guidance != 1.0 and null_label is not None:
        labels = torch.cat([labels, torch.full_like(labels, null_label)])
    x, x_before, x0_before = x_T, None, None
    for k, row in enumerate(table.rows):
        output = _guided(network, x, row.t, labels, guidance).to(x.dtype)
        x0 = _clipped((row.to_x0 * x).add_(output, alpha=row.to_x0_output), table)
        x_next = _updated(row, x, x0, x_before, x0_before, None if noise is None else noise, k)
        x, x_before, x0_before = x_next, x, x0
        if on_step is not None:
            on_step(k, x, x0)
    return x


def _guided(network: Network, x: Tensor, t: int, labels: Tensor | None, guidance: float) -> Tensor:
    """The network's output for x; with guidance, labels are [2B]: first the wanted ones, then the null ones."""
    if guidance == 1.0:
        return network(x, _times(len(x), t, x), labels)
    both = network(torch.cat([x, x]), _times(2 * len(x), t, x), labels)
    conditional, unconditional = both.chunk(2)
    return torch.lerp(unconditional, conditional, guidance)


def _times(count: int, t: int, like: Tensor) -> Tensor:
    """int64 [count] of the network's count of t, filled on the device of `like`: no copy from the host."""
    return torch.full((count,), t - 1, dtype=torch.int64, device=like.device)


def _updated(
    row: SamplerRow,
    x: Tensor,
    x0: Tensor,
    x_before: Tensor | None,
    x0_before: Tensor | None,
    noise: StepNoise | None,
    k: int,
) -> Tensor:
    """x_next of the row: one sum of up to five tensors, the absent ones skipped."""
    result = (row.on_x * x).add_(x0, alpha=row.on_x0)
    if row.on_x0_before != 0.0 and x0_before is not None:
        result.add_(x0_before, alpha=row.on_x0_before)
    if row.on_x_before != 0.0 and x_before is not None:
        result.add_(x_before, alpha=row.on_x_before)
    if row.on_noise != 0.0 and noise is not None:
        result.add_(noise(k), alpha=row.on_noise)
    return result


def _clipped(x0: Tensor, table: SamplerTable) -> Tensor:
    """The view of x_0 after the table's treatment; the argument is used up."""
    if table.clip == "none":
        return x0
    if table.clip == "clip":
        return x0.clamp_(-1.0, 1.0)
    return dynamic_threshold(x0, table.dynamic_quantile)


def dynamic_threshold(x0: Tensor, quantile: float) -> Tensor:
    """x_0 clamped to [-s, s] and divided by s, where s is the quantile of |x_0| in each image, at least 1.

    Guidance with a large weight pushes pixels out of [-1, 1]; this pulls the image back as a whole instead of saturating it.

    Args:
        x0: [B, ...] images.
        quantile: In (0, 1]; linear interpolation between the two nearest ranks.

    Ref: Saharia et al. 2022, arXiv 2205.11487, section 2.3.
    """
    # By sorting: torch.quantile refuses more than 2^24 numbers.
    ranked = x0.abs().flatten(1).sort(dim=1).values
    place = quantile * (ranked.shape[1] - 1)
    below = int(place)
    above = min(below + 1, ranked.shape[1] - 1)
    s = torch.lerp(ranked[:, below], ranked[:, above], place - below).clamp_(min=1.0)
    s = s.view(-1, *(1 for _ in x0.shape[1:]))
    return x0.clamp(-s, s) / s
