"""How far two clouds of points are from each other."""

import torch
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families import normal, stream_key


def sliced_wasserstein(a: Tensor, b: Tensor, *, directions: int = 256, seed: int = 0) -> float:
    """Sliced Wasserstein-2 distance of two equally large clouds: the root mean square, over directions, of the distance of
    their projections, which on a line is the distance of the sorted points.

    Args:
        a: float [N, D].
        b: float [N, D].
        directions: Random directions that both clouds are projected on.
        seed: Seed of the directions.

    Raises:
        ConfigError: The clouds differ in shape.

    Ref: Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures", section 4.
    """
    if a.shape != b.shape or a.dim() != 2:
        raise ConfigError(
            f"sliced Wasserstein distance: got clouds of {tuple(a.shape)} and {tuple(b.shape)}, expected one [N, D]"
        )
    at = normal(stream_key(seed, "directions"), torch.arange(directions), 0, (a.shape[1],)).to(torch.float64)
    at = at / at.norm(dim=1, keepdim=True)
    projected = [(cloud.to(torch.float64) @ at.T).sort(dim=0).values for cloud in (a, b)]
    return float((projected[0] - projected[1]).square().mean().sqrt())
