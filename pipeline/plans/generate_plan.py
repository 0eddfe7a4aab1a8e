"""The plan of a generation job: checkpoint resolved, output compared, open parts listed; nothing started or written."""

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError, StorageError
from pipeline.families import SamplerConfig, SampleRequest
from pipeline.generation import GenerationSpec, LabelRule, checkpoint_is_gone, load_conditions, parse_labels
from pipeline.models import ModelConfig, make_family
from pipeline.models.model import completed
from pipeline.plans.foreign_folder import refuse_foreign
from pipeline.plans.generate_config import GenerateConfig
from pipeline.plans.metrics_port import check_metrics_port
from pipeline.plans.output_folder import check_writable, output_url
from pipeline.plans.pinned_checkpoint import known_conditions, pinned_checkpoint
from pipeline.samples import Origin, PartRange, PartRecord, SampleSet, load_manifest, open_ranges
from pipeline.samples.goals import goals_of
from pipeline.samples.manifest import manifest_url
from pipeline.version import code_version


@dataclass(frozen=True, slots=True)
class GeneratePlan:
    """A generation job that is ready to start."""

    config: GenerateConfig
    """With absolute URLs."""
    origin: Origin
    """The checkpoint folder that was found, now or when the output's first job started."""
    checkpoint: str
    """Where the checkpoint is read: there, or the output's own copy."""
    spec: GenerationSpec
    """What the samples are a function of."""
    model: ModelConfig
    """The checkpoint's model."""
    committed_rows: int
    """Rows that are there already."""
    open_parts: list[PartRange]
    """Parts still to be made."""
    is_published: bool = False
    """Whether readers have the whole set already: then a job need not write anything; False where none can tell."""

    def run_spec(self) -> dict[str, Any]:
        """Returns what is written once beside the samples, carried by every part and compared on resume, as JSON values."""
        return {
            "generation": self.spec.to_json(),
            "model": json.loads(json.dumps(asdict(self.model))),
            "code_version": code_version(),
        }

    def describe(self) -> list[tuple[str, str]]:
        """Returns the plan as (what, how much) lines for people."""
        c, spec = self.config, self.spec
        to_do = f"{len(self.open_parts):,} parts to make"
        if not self.open_parts and not self.is_published:
            to_do = "the manifest still to be written"
        return [
            ("checkpoint", f"{self.origin.checkpoint} ({spec.checkpoint_digest[:12]})"),
            ("output", c.output),
            ("samples", f"{c.num_samples:,}, {self.committed_rows:,} of them there, {to_do}"),
            ("images", "x".join(map(str, self.model.image.shape)) + f", labels {c.labels}, seed {spec.seed}"),
            ("sampler", _described(spec)),
            ("parts", f"{spec.part_rows:,} rows, sampled {spec.batch_rows} at a time, {spec.layout} with {spec.image_format}"),
        ]


def plan_generation(config: GenerateConfig) -> GeneratePlan:
    """Returns the plan of a generation job.

    Raises:
        ConfigError: A flag, the checkpoint or the output does not fit.
        ResumeMismatch: The output was made with another specification.
        TransientStorageError: A store does not answer.
    """
    if not config.checkpoint:
        raise ConfigError("--checkpoint is missing; expected a path or URL")
    config = replace(config, output=output_url("--output", config.output, may_be_done=True))
    if config.conditions:
        config = replace(config, conditions=storage.absolute_url(config.conditions))
    check_metrics_port(config.metrics_port)
    try:
        refuse_foreign(config.output)
        return _planned(config)
    except (CorruptDataError, PermanentStorageError) as error:
        raise ConfigError(str(error)) from error  # before anything is started, it is the user's to mend


def _planned(config: GenerateConfig) -> GeneratePlan:
    pinned = pinned_checkpoint(config)
    origin, info, model = pinned.origin, pinned.info, pinned.info.config
    sampler = _sampler(config, model)
    request = SampleRequest(sampler=sampler, guidance=config.guidance, draw_pixels=config.draw_pixels)
    make_family(model).check(completed(request, model))
    # A part that is no multiple of the batch would pay for images that are thrown away.
    batch_rows = min(config.batch_rows, config.part_rows)
    part_rows = math.ceil(config.part_rows / batch_rows) * batch_rows
    labels = _labels(config, model)
    rule = labels.rule
    config = replace(config, num_samples=_num_samples(config.num_samples, labels))
    spec = GenerationSpec(
        checkpoint_digest=info.digest,
        ema=info.ema_length(config.ema),
        seed=config.seed,
        sampler=sampler,
        guidance=config.guidance,
        draw_pixels=config.draw_pixels,
        labels=rule.classes,
        label_counts=rule.counts,
        label_weights=rule.weights,
        conditions_sha256=labels.conditions_sha256,
        part_rows=part_rows,
        batch_rows=batch_rows,
        precision=config.precision,
        compiled=config.compiled,
        image_format=config.image_format,
        quality=config.quality,
        layout=config.format,
    )
    plan = GeneratePlan(config, origin, pinned.url or origin.checkpoint, spec, model, 0, [])
    samples = SampleSet(config.output)
    samples.check(plan.run_spec())
    committed = samples.committed()
    parts = open_ranges(config.num_samples, part_rows, committed, config.output)
    if parts:
        check_writable("--output", config.output)
    if parts and labels.gone is not None:
        raise labels.gone
    if parts and pinned.url is None:
        raise checkpoint_is_gone(config.output, origin.checkpoint)
    return replace(
        plan,
        committed_rows=sum(part.rows for part in committed),
        open_parts=parts,
        is_published=not parts and _is_published(config, committed),
    )


def _is_published(config: GenerateConfig, committed: list[PartRecord]) -> bool:
    try:
        if not storage.exists(manifest_url(config.output)):
            return False
        manifest = load_manifest(config.output)
    except (CorruptDataError, StorageError):  # a job writes it anew, or fails and says why
        return False
    return (manifest.num_samples, manifest.parts) == (config.num_samples, tuple(committed))


class _Labels(NamedTuple):
    """What the samples are made for."""

    rule: LabelRule
    """Of the classes."""
    limit: int | None
    """Samples there can be; None without limit."""
    conditions_sha256: str = ""
    """Of the file of conditions, where there is one."""
    gone: ConfigError | None = None
    """That the file is gone: a set that is finished does not mind, and the rest is taken from what the set says."""


def _labels(config: GenerateConfig, model: ModelConfig) -> _Labels:
    classes = model.image.num_classes
    if not config.conditions:
        rule = parse_labels(config.labels, classes)
        return _Labels(rule, rule.num_samples)
    if config.labels != "all":
        raise ConfigError(f"got both --labels {config.labels} and --conditions {config.conditions}; expected one of them")
    rule = LabelRule(classes=tuple(range(classes)))
    try:
        conditions = load_conditions(config.conditions, classes)
    except ConfigError as error:
        known = "" if storage.exists(config.conditions) else known_conditions(config.output)
        if not known:
            raise
        return _Labels(rule, max(goals_of(config.output).numbers, default=None), known, error)
    return _Labels(rule, len(conditions.labels), conditions.sha256)


def _num_samples(asked: int, labels: _Labels) -> int:
    if asked < 1 and labels.limit is None:
        raise labels.gone or ConfigError("--num-samples is missing; expected a number of at least 1")
    if labels.limit is not None and asked > labels.limit:
        raise labels.gone or ConfigError(
            f"num_samples: got {asked}, expected at most {labels.limit}: labels or conditions are for so many"
        )
    return asked or labels.limit or 0


def _sampler(config: GenerateConfig, model: ModelConfig) -> SamplerConfig | None:
    """The family's default sampler with what the flags change in it; None for a family that has none.

    Raises:
        ConfigError: A flag asks for what the family does not have.
    """
    flags = {
        "name": config.sampler,
        "steps": config.sampler_steps,
        "eta": config.eta,
        "clip": config.clip,
        "dynamic_quantile": config.dynamic_quantile,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    default = make_family(model).default_sampler
    if default is None and given:
        name, value = next(iter(given.items()))
        raise ConfigError(f"sampler {name}: got {value} for a {model.family_name}, which is sampled in one pass; expected none")
    return None if default is None else replace(default, **given)  # pyright: ignore[reportArgumentType]


def _described(spec: GenerationSpec) -> str:
    if spec.sampler is None:
        return "one pass through the decoders, " + ("pixels drawn" if spec.draw_pixels else "mean pixels")
    evaluations = 2 * spec.sampler.steps - 1 if spec.sampler.name == "heun" else spec.sampler.steps
    clip = "" if spec.sampler.clip == "clip" else f", x_0 {spec.sampler.clip}"
    return f"{spec.sampler.name}, {evaluations} network evaluations, guidance {spec.guidance:g}{clip}"
