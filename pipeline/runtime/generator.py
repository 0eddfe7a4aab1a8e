"""The sampler actor: makes and commits parts; it keeps nothing that a restart would lose."""

import threading
import time
from typing import Any

import torch
from ray.actor import ActorHandle

from pipeline import storage
from pipeline.checkpoints import load_model
from pipeline.errors import CorruptDataError
from pipeline.generation import GenerationSpec, ImageSampler, encode_png
from pipeline.samples import PartRange, PartRecord, SampleSet, encode_part
from pipeline.telemetry import IMAGES_GENERATED, STORAGE_RETRIES, Tally


class Generator:
    """Turns ranges of sample numbers into committed parts.

    Its calls run in two threads: while one encodes and commits its part, the other already samples the next.

    Args:
        name: Place of the worker in the job, for metrics.
        checkpoint: Checkpoint folder.
        spec: What to sample.
        output: The sample set's folder.
        provenance: Goes into every part's schema metadata.
        threads: CPU threads of torch.
        hub: Where counts go.

    Raises:
        CorruptDataError: The checkpoint is damaged, or is not the one the specification names.
    """

    def __init__(
        self,
        name: str,
        checkpoint: str,
        spec: GenerationSpec,
        output: str,
        provenance: dict[str, Any],
        threads: int,
        hub: ActorHandle,
    ) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cpu":
            torch.set_num_threads(threads)
        loaded = load_model(checkpoint)
        if loaded.digest != spec.checkpoint_digest:
            raise CorruptDataError(
                f"the checkpoint changed: digest {loaded.digest[:12]}, expected {spec.checkpoint_digest[:12]}", checkpoint
            )
        self._sampler = ImageSampler(loaded.model, spec, device)
        self._spec, self._provenance, self._hub = spec, provenance, hub
        self._samples = SampleSet(output)
        self._sampling = threading.Lock()
        self._tally = Tally(name, time.time_ns())

    def ready(self) -> bool:
        """Returns True once the checkpoint is loaded."""
        return True

    def make_part(self, part: PartRange) -> PartRecord:
        """Samples, encodes and commits a part; a part that is there already is left as it is.

        Raises:
            StorageError: The part could not be written.
            CommitConflict: The part's name holds something else.
        """
        with self._sampling:
            images = self._sampler.images(part.first, part.rows, self._count)
        labels = self._spec.labels_of(part.first, part.rows)
        data = encode_part(
            first=part.first,
            images=[encode_png(image) for image in images],
            labels=None if labels is None else labels.tolist(),
            provenance=self._provenance,
        )
        record = self._samples.commit(part.first, data, part.rows)
        for operation, count in storage.retries().items():
            self._tally.reach(STORAGE_RETRIES, count, operation=operation)
        self._hub.report.remote(self._tally.report())
        return record

    def _count(self, rows: int) -> None:
        self._tally.add(IMAGES_GENERATED, rows)
        self._hub.report.remote(self._tally.report())
