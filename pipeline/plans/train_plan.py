"""The plan of a training job: data opened, everything checked, nothing started."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import Any

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError, SwissrollError
from pipeline.families import DiffusionConfig
from pipeline.models import num_parameters
from pipeline.order import Order
from pipeline.plans.metrics_port import check_metrics_port
from pipeline.plans.output_folder import check_writable, output_url
from pipeline.plans.run_folder import check_run_folder
from pipeline.plans.schedule_report import signal_warning
from pipeline.plans.train_config import TrainConfig
from pipeline.shards import ShardIndex, check_digest, decode_image, decode_label, image_field, open_data, read_samples
from pipeline.stream import (
    QUARANTINE_NAME,
    ImageSpec,
    LoaderMemory,
    check_budget,
    decoding_bytes,
    loader_memory,
    make_order,
    read_quarantine,
)

SAMPLES_CHECKED = 16  # a damaged sample or two at the front must not hide that the rest is sound


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """A training job that is ready to start."""

    config: TrainConfig
    """With absolute URLs."""
    index: ShardIndex
    """The data set."""
    order: Order
    """The order it is streamed in."""
    identity: dict[str, Any]
    """What must be the same for the run to be continued, as JSON values."""
    continues: bool
    """Whether the run folder already belongs to this run."""
    memory: LoaderMemory
    """What loaders take."""

    @property
    def image(self) -> ImageSpec:
        """What loaders decode images to."""
        return image_spec(self.config)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the order, kept with the position in the stream."""
        return self.order.fingerprint(self.index.fingerprint())

    def warnings(self) -> list[str]:
        """Returns what is allowed and yet unwise, a line each, to be said before the first GPU hour is spent."""
        family = self.config.model.family
        warning = signal_warning(family) if isinstance(family, DiffusionConfig) else None
        return [] if warning is None else [warning]

    def describe(self) -> list[tuple[str, str]]:
        """Returns the plan as (what, how much) lines for people."""
        c, order = self.config, self.order
        memory = self.memory
        return [
            ("run", f"{c.run_dir} ({'continues' if self.continues else 'new'})"),
            (
                "data",
                f"{self.index.num_samples:,} samples in {len(self.index.shards):,} shards, {self.index.size_bytes:,} bytes",
            ),
            *self._mixture(),
            (
                "model",
                f"{c.model.family_name}, {num_parameters(c.model):,} parameters, "
                f"images {'x'.join(map(str, c.model.image.shape))}",
            ),
            ("steps", f"{c.steps:,} of batch {c.stream.batch_size}: {order.epochs_at(c.steps):.1f} epochs"),
            ("order", f"{order.num_lanes} lanes, windows of {order.window} samples, seed {c.seed}"),
            ("workers", f"{c.workers.num_workers} trainers, {c.workers.num_loaders} loaders"),
            (
                "loader memory",
                f"each about {memory.bytes_per_loader / 1e6:.1f} MB beyond the process itself{_large(memory)}; "
                f"{memory.in_flight / 1e6:.1f} MB of batches in flight in all",
            ),
            (
                "decoding",
                f"up to {decoding_bytes(self.image) / 1e9:.1f} GB more in a loader, for the largest image that is not refused",
            ),
        ]

    def _mixture(self) -> list[tuple[str, str]]:
        whole = sum(source.weight for source in self.index.sources)
        shares = [f"{source.weight / whole:.1%} {source.name}" for source in self.index.sources]
        return [("mixture", ", ".join(shares))] if shares else []


def _large(memory: LoaderMemory) -> str:
    """What is to be said of samples that are much larger than the others."""
    extra = f", up to {memory.large / 1e6:,.1f} MB more where large samples lie together"
    return extra if memory.large > memory.bytes_per_loader / 4 else ""


def image_spec(config: TrainConfig) -> ImageSpec:
    """Returns what loaders decode images to under a configuration."""
    image, stream = config.model.image, config.stream
    return ImageSpec(
        size=image.size,
        channels=image.channels,
        num_classes=image.num_classes,
        image_field=stream.image_field,
        crop=stream.crop,
        crop_min=stream.crop_min,
        flip=stream.flip,
        max_pixels=stream.max_pixels,
    )


def plan_training(config: TrainConfig, progress: Callable[[int, int], None] | None = None) -> TrainPlan:
    """Returns the plan of a training job.

    Args:
        config: What the user asked for.
        progress: Called as (done, total) while shards without an index are read.

    Raises:
        ConfigError: A flag, the data or the run folder does not fit.
        TransientStorageError: The store does not answer.
    """
    if not config.data:
        raise ConfigError("--data is missing; expected a path or URL")
    config = replace(config, run_dir=output_url("--run-dir", config.run_dir, may_be_done=True))
    check_metrics_port(config.metrics_port)
    try:
        index = open_data(config.data, progress=progress)
        _check_first_samples(index, config)
        _check_quarantine(index, config)
    except (CorruptDataError, PermanentStorageError) as error:
        raise ConfigError(str(error)) from error  # before anything is started, it is the user's to mend
    order = make_order(index, config.stream, config.seed)
    workers = config.workers
    try:
        memory = loader_memory(
            index,
            order,
            image_spec(config),
            num_loaders=workers.num_loaders,
            num_ranks=workers.num_workers,
            prefetch=workers.prefetch_batches,
        )
    except (CorruptDataError, PermanentStorageError) as error:
        raise ConfigError(str(error)) from error
    identity = _identity(config, index)
    continues = check_run_folder(config.run_dir, identity)
    if not continues:
        check_writable("--run-dir", config.run_dir)
    return TrainPlan(config, index, order, identity, continues, memory)


def _identity(config: TrainConfig, index: ShardIndex) -> dict[str, Any]:
    values = {
        "data": {"fingerprint": index.fingerprint(), "samples": index.num_samples, "shards": len(index.shards)},
        "model": asdict(config.model),
        # How much damage is tolerated may change, and how fast it goes; what is trained on and with may not.
        "stream": {name: value for name, value in asdict(config.stream).items() if name != "max_corrupt_share"},
        "optim": {name: value for name, value in asdict(config.optim).items() if name != "compiled"},
        "seed": config.seed,
    }
    return json.loads(json.dumps(values))


def _check_first_samples(index: ShardIndex, config: TrainConfig) -> None:
    """Refuses data that this model cannot be trained on: none of the first few samples of a data set can be decoded."""
    sizes = [source.num_shards for source in index.sources] or [len(index.shards)]
    for shard in accumulate(sizes[:-1], initial=0):
        _check_shard(index, shard, config)


def _check_shard(index: ShardIndex, shard: int, config: TrainConfig) -> None:
    image = config.model.image
    first: SwissrollError | None = None
    for raw in read_samples(index, shard, 0, min(SAMPLES_CHECKED, index.shards[shard].num_samples)):
        try:
            check_digest(raw)
            decode_image(
                raw.fields[image_field(raw, config.stream.image_field)],
                channels=image.channels,
                size=image.size,
                max_pixels=config.stream.max_pixels,
                uri=raw.uri,
                offset=raw.offset,
            )
            if image.num_classes and (label := decode_label(raw)) >= image.num_classes:
                raise ConfigError(
                    f"the model has classes 0 to {image.num_classes - 1}, got label {label} in sample {raw.key!r} of {raw.uri}"
                )
            return
        except (ConfigError, CorruptDataError) as error:
            first = first or error
    if first is not None:
        raise first


def _check_quarantine(index: ShardIndex, config: TrainConfig) -> None:
    """Refuses to continue a run that found more damaged samples than it may have."""
    url = storage.join(config.run_dir, QUARANTINE_NAME)
    found = read_quarantine(url)
    if found:
        check_budget(len(found), config.stream.corrupt_allowed(index.num_samples), url, found[-1])
