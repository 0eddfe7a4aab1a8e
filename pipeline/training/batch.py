"""A batch as a rank trains on it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.families import Draws


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of one global batch that belong to one rank."""

    images: Tensor
    """uint8 [B, H, W, C]."""
    labels: Tensor
    """int64 [B]; -1 where the data has no label."""
    samples: Tensor
    """Number of each sample in the data set, int64 [B]."""
    epochs: Tensor
    """Epoch each sample is seen in, int64 [B]."""

    def on(self, device: torch.device) -> "Batch":
        """Returns the batch on a device, copied asynchronously where the device allows it."""
        move = [t.to(device, non_blocking=True) for t in (self.images, self.labels, self.samples, self.epochs)]
        return Batch(images=move[0], labels=move[1], samples=move[2], epochs=move[3])

    def pinned(self) -> "Batch":
        """Returns a copy in page-locked memory, from which a CUDA device copies asynchronously.

        One thread makes it. torch's own `pin_memory` takes all of torch's, is no faster, and each of them then waits some 10 ms
        in a busy loop for more to do (docs/gpu.md).
        """
        return Batch(**{name: _pinned(getattr(self, name)) for name in ("images", "labels", "samples", "epochs")})

    def pixels(self) -> Tensor:
        """Returns the images as models take them: uint8 [B, C, H, W], channels last in memory."""
        return self.images.permute(0, 3, 1, 2)

    def draws(self, seed: int) -> Draws:
        """Returns the batch's randomness: keyed by run seed, epoch and sample, never by rank."""
        return Draws(seed=seed, samples=self.samples, epochs=self.epochs)


def _pinned(tensor: Tensor) -> Tensor:
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    np.copyto(copy.numpy(), tensor.numpy())
    return copy
