"""The sampler actor: makes and commits parts; it keeps nothing that a restart would lose."""

import threading
from dataclasses import dataclass
from typing import Any

import torch

from pipeline import storage
from pipeline.generation import GenerationSpec, PartMaker
from pipeline.runtime.heap import keep_freed_memory
from pipeline.runtime.hub import HubAddress, new_tally
from pipeline.runtime.storage_counts import reach_storage_counts
from pipeline.samples import PartRange, PartRecord, SampleSet
from pipeline.telemetry import IMAGES_GENERATED


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorArgs:
    """What a sampler actor is made from; it must still be there when the actor is made anew, so no handle is among it."""

    name: str
    """Place of the worker in the job, for metrics."""
    checkpoint: str
    """Checkpoint folder."""
    spec: GenerationSpec
    """What to sample."""
    conditions: str
    """Parquet file of conditions; empty without."""
    output: str
    """The sample set's folder."""
    provenance: dict[str, Any]
    """Goes into every part's schema metadata."""
    fence: storage.Fence | None
    """Tells whether another job has taken the output over; None where that cannot be."""
    hub: HubAddress
    """Where counts go."""


class Generator:
    """Turns ranges of sample numbers into committed parts.

    Its calls run in two threads: while one encodes and commits its part, the other already samples the next.
    """

    def __init__(self, args: GeneratorArgs) -> None:
        if not torch.cuda.is_available():
            keep_freed_memory()
        self._args = args
        self._hub = args.hub.connect()
        self._samples = SampleSet(args.output)
        self._sampling = threading.Lock()
        self._maker: PartMaker | None = None
        self._tally = new_tally(self._hub, args.name)

    def ready(self) -> None:
        """Answers once the actor lives."""

    def make_part(self, part: PartRange) -> PartRecord:
        """Samples, encodes and commits a part; a part that is there already is left as it is.

        Raises:
            StorageError: The part could not be written.
            CorruptDataError: The checkpoint is damaged or is not the one the specification names, or something else is
                stored under the part's name.
            CommitConflict: Another job took the output over.
            ResumeMismatch: The output belongs to another run by now.
        """
        with self._sampling:
            maker = self._loaded()
            images = maker.sample(part, self._count)
        data = maker.encode(part, images)
        # Last, as this worker may have slept for an hour anywhere above.
        if self._args.fence is not None:
            self._args.fence.check()
        self._samples.check(self._args.provenance)
        record = self._samples.commit(part.first, data, part.rows, maker.suffix)
        reach_storage_counts(self._tally)
        self._hub.report.remote(self._tally.report())
        return record

    def _count(self, rows: int) -> None:
        self._tally.add(IMAGES_GENERATED, rows)
        self._hub.report.remote(self._tally.report())

    def _loaded(self) -> PartMaker:
        """The maker, made at the first part: an error in a constructor would reach the driver as text only."""
        if self._maker is None:
            args = self._args
            self._maker = PartMaker(args.checkpoint, args.spec, args.provenance, args.conditions)
        return self._maker
