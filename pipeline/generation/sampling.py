"""Images of any range of sample numbers, the same whoever asks and in whatever order."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.families import Draws, SampleRequest
from pipeline.generation.captured import CapturedPixels, PixelsOf
from pipeline.generation.spec import GenerationSpec
from pipeline.models import Model
from pipeline.models.model import to_pixels
from pipeline.networks.compiling import compile_network, compiler_trouble
from pipeline.networks.layout import lay_out

_BATCHES_AHEAD = 2  # on a device: enough for it never to wait for the host

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

    Raises:
        ConfigError: The network is to be compiled, and there is no compiler; or, at the first images, that it failed.
    """

    def __init__(self, model: Model, spec: GenerationSpec, device: torch.device, labels_of: LabelsOf | None = None) -> None:
        self._model = model.to(device)
        lay_out(model.network, device).eval()
        if spec.compiled:
            compile_network(model.network, device)
        self._spec = spec
        self._labels_of = labels_of or spec.labels_of
        self._device = device
        self._request = SampleRequest(sampler=spec.sampler, guidance=spec.guidance, draw_pixels=spec.draw_pixels)
        self._pixels_of: PixelsOf | None = None

    def images(self, first: int, rows: int, on_batch: Callable[[int], None] = lambda rows: None) -> NDArray[np.uint8]:
        """Returns samples [first, first + rows) as uint8 [rows, H, W, C].

        A device works on the next batch while the last one is copied from it.

        Args:
            first: Number of the first sample.
            rows: How many.
            on_batch: Called after each batch with the number of images it gave.
        """
        batches = list(_batches(first, rows, self._spec.batch_rows))
        pinned = self._device.type == "cuda"
        # Filled up by the rows that the last batch has too many.
        found = torch.empty((len(batches) * self._spec.batch_rows, *self._image_shape()), dtype=torch.uint8, pin_memory=pinned)
        copied: list[tuple[int, torch.cuda.Event]] = []
        for place, (start, keep) in enumerate(batches):
            here = found[place * self._spec.batch_rows : (place + 1) * self._spec.batch_rows]
            here.copy_(self._batch(start), non_blocking=pinned)
            if pinned:
                event = torch.cuda.Event()
                event.record()
                copied.append((keep, event))
                if len(copied) > _BATCHES_AHEAD:
                    _wait(*copied.pop(0), on_batch)
            else:
                on_batch(keep)
        for keep, event in copied:
            _wait(keep, event, on_batch)
        return found[:rows].numpy()

    def _batch(self, first: int) -> Tensor:
        """The pixels of a whole batch on the device, uint8 [B, H, W, C]; overwritten by the next batch."""
        size = self._spec.batch_rows
        numbers = torch.arange(first, first + size, device=self._device)
        given = self._labels_of(first, size)
        labels = None if given is None else torch.from_numpy(given).to(self._device, non_blocking=True)
        if self._pixels_of is None:
            self._pixels_of = self._prepared(numbers, labels)
        return self._pixels_of(numbers, labels)

    def _prepared(self, numbers: Tensor, labels: Tensor | None) -> PixelsOf:
        """What makes batches from now on, after all that happens once: compiling, capturing."""
        try:
            if self._device.type == "cuda":
                return CapturedPixels(self._sampled, numbers, labels)
            if self._spec.compiled:
                self._sampled(numbers, labels)
        except Exception as error:
            trouble = compiler_trouble(error)
            if trouble is None:
                raise
            raise trouble from error
        return self._sampled

    @torch.no_grad()
    def _sampled(self, numbers: Tensor, labels: Tensor | None) -> Tensor:
        draws = Draws(seed=self._spec.seed, samples=numbers, epochs=torch.zeros_like(numbers))
        # Without the cache of cast weights: a graph must cast them itself, and they are cast once a step either way.
        low = torch.autocast(self._device.type, torch.bfloat16, enabled=self._spec.precision == "bf16", cache_enabled=False)
        with low:
            x = self._model.sample(labels, draws, self._request)
        return to_pixels(x).permute(0, 2, 3, 1).contiguous()

    def _image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self._model.config.image.shape
        return height, width, channels


def _wait(keep: int, event: torch.cuda.Event, on_batch: Callable[[int], None]) -> None:
    event.synchronize()
    on_batch(keep)


def _batches(first: int, rows: int, batch_rows: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + rows, batch_rows):
        yield start, min(batch_rows, first + rows - start)
