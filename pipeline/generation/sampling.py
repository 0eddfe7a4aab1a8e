"""Images of any range of sample numbers, the same whoever asks and in whatever order."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.families import normal, sample, sampler_table, stream_key
from pipeline.generation.spec import GenerationSpec
from pipeline.models import Model
from pipeline.models.model import to_pixels
from pipeline.networks.unet import to_channels_last

LabelsOf = Callable[[int, int], NDArray[np.int64] | None]


class ImageSampler:
    """Samples images with one model under one specification.

    Sample i depends on (specification, i) alone: its noise is drawn from the seed and i, and the batch shape is fixed, the
    last batch of a range being filled up with samples that are thrown away.

    Args:
        model: With the checkpoint's weights.
        spec: What to sample.
        device: Where the network runs.
        labels_of: (first, rows) -> classes, int64 [rows] or None; the specification's rule unless given.
    """

    def __init__(self, model: Model, spec: GenerationSpec, device: torch.device, labels_of: LabelsOf | None = None) -> None:
        self._model = model.to(device)
        self._network = to_channels_last(model.network).eval()
        self._spec = spec
        self._labels_of = labels_of or spec.labels_of
        self._device = device
        self._table = sampler_table(spec.sampler, model.family.schedule, model.config.family.prediction)
        self._start_key = stream_key(spec.seed, "generation start")
        self._step_key = stream_key(spec.seed, "generation step")

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
        labels = self._labels_of(first, size)
        x_0 = sample(
            self._network,
            self._table,
            self._noise(numbers, self._start_key, 0),
            None if labels is None else torch.from_numpy(labels).to(self._device),
            guidance=self._spec.guidance,
            null_label=self._model.null_label,
            noise=lambda row: self._noise(numbers, self._step_key, row),
        )
        return to_pixels(x_0).permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _noise(self, numbers: Tensor, key: tuple[int, int], step: int) -> Tensor:
        noise = normal(key, numbers, step, self._model.config.image.shape)
        return noise.to(memory_format=torch.channels_last)


def _batches(first: int, rows: int, batch_rows: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + rows, batch_rows):
        yield start, min(batch_rows, first + rows - start)
