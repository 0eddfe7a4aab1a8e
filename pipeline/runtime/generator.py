"""The sampler actor: makes and commits parts; it keeps nothing that a restart would lose."""

import threading
import time
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.checkpoints import load_model
from pipeline.errors import CorruptDataError
from pipeline.generation import GenerationSpec, ImageSampler, encode_png
from pipeline.runtime.hub import HubAddress
from pipeline.runtime.storage_counts import reach_storage_counts
from pipeline.samples import PartRange, PartRecord, SampleSet, encode_part
from pipeline.telemetry import IMAGES_GENERATED, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorArgs:
    """What a sampler actor is made from; it must still be there when Ray restarts the actor, so no handle is among it."""

    name: str
    """Place of the worker in the job, for metrics."""
    checkpoint: str
    """Checkpoint folder."""
    spec: GenerationSpec
    """What to sample."""
    output: str
    """The sample set's folder."""
    provenance: dict[str, Any]
    """Goes into every part's schema metadata."""
    threads: int
    """CPU threads of torch."""
    hub: HubAddress
    """Where counts go."""


class Generator:
    """Turns ranges of sample numbers into committed parts.

    Its calls run in two threads: while one encodes and commits its part, the other already samples the next.
    """

    def __init__(self, args: GeneratorArgs) -> None:
        self._args = args
        self._hub = args.hub.connect()
        self._samples = SampleSet(args.output)
        self._sampling = threading.Lock()
        self._sampler: ImageSampler | None = None
        self._tally = Tally(args.name, time.time_ns())

    def make_part(self, part: PartRange) -> PartRecord:
        """Samples, encodes and commits a part; a part that is there already is left as it is.

        Raises:
            StorageError: The part could not be written.
            CorruptDataError: The checkpoint is damaged or is not the one the specification names, or something else is
                stored under the part's name.
        """
        with self._sampling:
            images = self._loaded().images(part.first, part.rows, self._count)
        labels = self._args.spec.labels_of(part.first, part.rows)
        data = encode_part(
            first=part.first,
            images=[encode_png(image) for image in images],
            labels=None if labels is None else labels.tolist(),
            provenance=self._args.provenance,
        )
        record = self._samples.commit(part.first, data, part.rows)
        reach_storage_counts(self._tally)
        self._hub.report.remote(self._tally.report())
        return record

    def _count(self, rows: int) -> None:
        self._tally.add(IMAGES_GENERATED, rows)
        self._hub.report.remote(self._tally.report())

    def _loaded(self) -> ImageSampler:
        """The sampler, made at the first part: an error in a constructor would reach the driver as text only."""
        if self._sampler is None:
            args = self._args
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            if device.type == "cpu":
                torch.set_num_threads(args.threads)
            loaded = load_model(args.checkpoint, args.spec.ema)
            if loaded.digest != args.spec.checkpoint_digest:
                raise CorruptDataError(
                    f"the checkpoint changed: digest {loaded.digest[:12]}, expected {args.spec.checkpoint_digest[:12]}",
                    args.checkpoint,
                )
            self._sampler = ImageSampler(loaded.model, args.spec, device)
        return self._sampler
