"""A whole batch as one CUDA graph: every kernel of every sampler step is launched by one call."""

from collections.abc import Callable

import torch
from torch import Tensor

PixelsOf = Callable[[Tensor, Tensor | None], Tensor]
"""(sample numbers int64 [B], classes int64 [B] or None) -> pixels uint8 [B, H, W, C], all on one device."""
_WARM_UPS = 3  # libraries choose kernels and make workspaces in the first calls, which a capture must not contain


class CapturedPixels:
    """Replays what a function did once, for other numbers and classes. The result is overwritten by the next call.

    Args:
        pixels_of: What is captured; must not wait for the device, and depend on nothing but its arguments.
        numbers: An example on the device; all later ones have its shape.
        labels: As `numbers`, or None if there are never any.
    """

    def __init__(self, pixels_of: PixelsOf, numbers: Tensor, labels: Tensor | None) -> None:
        self._numbers = numbers.clone()
        self._labels = None if labels is None else labels.clone()
        aside = torch.cuda.Stream(numbers.device)
        aside.wait_stream(torch.cuda.current_stream(numbers.device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                pixels_of(self._numbers, self._labels)
        torch.cuda.current_stream(numbers.device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # Only what this thread does counts: another one may encode a part meanwhile, and ask for pinned memory.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._pixels = pixels_of(self._numbers, self._labels)

    def __call__(self, numbers: Tensor, labels: Tensor | None) -> Tensor:
        """Returns the pixels of these samples, as `pixels_of` would."""
        self._numbers.copy_(numbers, non_blocking=True)
        if self._labels is not None and labels is not None:
            self._labels.copy_(labels, non_blocking=True)
        self._graph.replay()
        return self._pixels
