"""Images of any range of sample numbers, the same whoever asks and in whatever order."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.families import Draws, SampleRequest
from pipeline.generation.spec import GenerationSpec
from pipeline.models import Model
from pipeline.models.model import to_pixels
from pipeline.networks.unet import to_channels_last


class ImageSampler:
    """Samples images with one model under one specification.

    Sample i depends on (specification, i) alone: its noise is drawn from the seed and i, and the batch shape is fixed, the
    last batch of a range being filled up with samples that are thrown away.

    Args:
        model: With the checkpoint's weights.
        spec: What to sample.
        device: Where the network runs.
    """

    def __init__(self, model: Model, spec: GenerationSpec, device: torch.device) -> None:
        self._model = model.to(device)
        to_channels_last(model.network).eval()
        self._spec = spec
        self._device = device
        self._request = SampleRequest(sampler=spec.sampler, guidance=spec.guidance, draw_pixels=spec.draw_pixels)

    def images(self, first: int, rows: int, on_batch: Callable[[int], None] = lambda rows: None) -> NDArray[np.uint8]:
        """Returns samples [first, first + rows) as uint8 [rows, H, W, C].

        Args:
            first: Number of the first sample.
            rows: How many.
            on_batch: Called after each batch with the number of images it gave.
        """
        found = []
        for start, keep in _batches(first, rows, self._spec.batch_rows):
            found.append(self._batch(start)[:keep])
            on_batch(keep)
        return np.concatenate(found)

    def _batch(self, first: int) -> NDArray[np.uint8]:
        size = self._spec.batch_rows
        numbers = torch.arange(first, first + size, device=self._device)
        labels = self._spec.labels_of(first, size)
        x = self._model.sample(
            None if labels is None else torch.from_numpy(labels).to(self._device),
            Draws(seed=self._spec.seed, samples=numbers, epochs=torch.zeros_like(numbers)),
            self._request,
        )
        return to_pixels(x).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _batches(first: int, rows: int, batch_rows: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + rows, batch_rows):
        yield start, min(batch_rows, first + rows - start)
