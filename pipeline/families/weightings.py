"""How much the error of each timestep counts in the training loss.

Ref: Ho et al. 2020, arXiv 2006.11239, eq. 14 (simple); Hang et al. 2023, arXiv 2303.09556, section 3.4 (min-SNR).
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families.predictions import Prediction

Weighting = Literal["simple", "vlb", "min-snr"]
"""simple: 1 in the prediction's own space; vlb: the bound's own weights; min-snr: min(SNR, gamma) in the space of x_0."""


def loss_weight(weighting: Weighting, prediction: Prediction, alpha_bar: Tensor, gamma: float) -> Tensor:
    """Weight of the squared error of the prediction, float64 [B].

    An error d in x_0 is an error d sqrt(SNR) in eps and d sqrt(SNR + 1) in v, so min-SNR divides by SNR and by SNR + 1.

    Args:
        weighting: "simple" or "min-snr"; the bound's weights belong to its terms, in `bound`.
        prediction: What the network predicts.
        alpha_bar: float64 [B], alpha_bar_t of each sample.
        gamma: Largest SNR that counts.

    Raises:
        ConfigError: Another weighting or prediction.
    """
    if weighting == "simple":
        return torch.ones_like(alpha_bar)
    if weighting == "min-snr":
        snr = alpha_bar / (1.0 - alpha_bar)
        scale = {"x0": torch.ones_like(snr), "eps": snr, "v": snr + 1.0}[prediction]
        return snr.clamp(max=gamma) / scale
    raise ConfigError(f"loss weight: got {weighting!r}, expected simple or min-snr of {', '.join(get_args(Weighting))}")
