"""Which checkpoint a generation job samples: the one that its output was begun with, or the one that is found now."""

import json
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline import storage
from pipeline.checkpoints import CheckpointInfo, inspect_checkpoint, resolve, without_latest
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError
from pipeline.generation import checkpoint_is_gone, find_checkpoint, is_there
from pipeline.models import ModelConfig
from pipeline.plans.generate_config import GenerateConfig
from pipeline.samples import Origin, SampleSet, load_origin

_MODEL_CONFIG = TypeAdapter(ModelConfig)


@dataclass(frozen=True, slots=True)
class PinnedCheckpoint:
    """The checkpoint of a job."""

    origin: Origin
    """Where it was found, now or when the output's first job started."""
    info: CheckpointInfo
    """What it is."""
    url: str | None
    """Where it can be read; None if it is gone, which only a finished set does not mind."""


def pinned_checkpoint(config: GenerateConfig) -> PinnedCheckpoint:
    """Returns the checkpoint recorded in the output, if the command names the same place again; else the one found now.

    Args:
        config: With an absolute output.

    Raises:
        ConfigError: There is no checkpoint, or it is damaged.
        CorruptDataError: What the output says of it is damaged.
        PermanentStorageError: Something cannot be read.
    """
    given = storage.absolute_url(without_latest(config.checkpoint))
    recorded = load_origin(config.output)
    if recorded is None or recorded.given != given:
        found = resolve(given)
        info = inspect_checkpoint(found)
        origin = Origin(given=given, checkpoint=found, conditions=config.conditions, digest=info.digest)
        known = _known(config.output) if recorded is None and found != given else None
        kept = None if known is None or known.digest == info.digest else find_checkpoint(config.output, "", known.digest)
        if kept is not None:  # origin.json was lost, and the run that is named has a newer checkpoint by now
            there = inspect_checkpoint(kept)
            return PinnedCheckpoint(replace(origin, checkpoint=kept, digest=there.digest), there, kept)
        return PinnedCheckpoint(origin, info, found)
    return _recorded(config.output, replace(recorded, conditions=config.conditions))


def _recorded(output: str, origin: Origin) -> PinnedCheckpoint:
    """The checkpoint of a set that was begun; as long as it is where it was found, it must still be the same there."""
    known = _known(output)
    digest = origin.digest if known is None else known.digest  # killed before it wrote run.json, it had made its copy
    kept = find_checkpoint(output, "", digest) if digest else None
    if is_there(origin.checkpoint):
        try:
            info = inspect_checkpoint(origin.checkpoint)
            return PinnedCheckpoint(origin, info, find_checkpoint(output, origin.checkpoint, info.digest))
        except (CorruptDataError, ConfigError, PermanentStorageError):
            if known is None and kept is None:
                raise  # else it is being removed or was damaged since; the copy is what counts
    if kept is not None:
        try:
            return PinnedCheckpoint(origin, inspect_checkpoint(kept), kept)
        except (CorruptDataError, ConfigError, PermanentStorageError):
            if known is None:
                raise
        return PinnedCheckpoint(origin, known, kept)  # a finished set does not mind, any other names the damage
    if known is None:
        raise checkpoint_is_gone(output, origin.checkpoint)
    return PinnedCheckpoint(origin, known, find_checkpoint(output, origin.checkpoint, known.digest))


def known_conditions(output: str) -> str:
    """Returns the SHA-256 of the file of conditions that a set is made from, as run.json has it; empty where it has none.

    Raises:
        CorruptDataError: run.json is damaged.
    """
    try:
        generation: Any = SampleSet(output).spec().get("generation")
    except PermanentStorageError:
        return ""
    found = generation.get("conditions_sha256") if isinstance(generation, dict) else None
    return found if isinstance(found, str) else ""


def _known(output: str) -> CheckpointInfo | None:
    """What run.json says of the checkpoint, of its averages only the one that was sampled; None where there is no run.json."""
    try:
        spec: dict[str, Any] = SampleSet(output).spec()
    except PermanentStorageError:
        return None
    try:
        digest, ema = spec["generation"]["checkpoint_digest"], spec["generation"]["ema"]
        model = _MODEL_CONFIG.validate_json(json.dumps(spec["model"]))
    except (KeyError, TypeError, ValidationError):
        return None  # of another version, as the comparison of specifications will say
    return CheckpointInfo(model, digest, () if ema is None else (ema,))
