"""Whether an output would lie in a folder that belongs to another sample set or to training, which would move or remove it."""

import json
import re
from collections.abc import Iterator

from pipeline import storage
from pipeline.checkpoints import read_record
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError
from pipeline.plans.run_folder import CONFIG_NAME
from pipeline.samples import SampleSet

_OWNED = frozenset({"data", "commits", "goals", "checkpoint", "quarantine", "lease"})
_OWNED_BY_TRAINING = frozenset({"checkpoints", "snapshots"})
_CHECKPOINT = re.compile(r"step-\d{9,}")


def refuse_foreign(output: str) -> None:
    """Raises where an output is in a folder that a sample set or training fills, or is a training run's or a checkpoint's own.

    Asks the store about folders above only where their names are those that sets and runs have. A set that is there already,
    begun by an earlier version, is left to go on.

    Args:
        output: Absolute.

    Raises:
        ConfigError: It is.
        TransientStorageError: The store does not answer.
    """
    for above, name in _folders_above(output):
        if name in _OWNED and _is_set(above):
            expected = "expected a folder that is no other set's"
            raise ConfigError(f"--output: got {output}, which is in {name}/ of the sample set {above}; {expected}")
    owner = _training_owner(output)
    if owner and not _is_set(output):
        raise ConfigError(f"--output: got {output}, which is {owner}; expected a folder of its own")


def _training_owner(output: str) -> str:
    """What of training an output would lie in, in words; empty where nothing tells that it is in any."""
    for above, name in _folders_above(output):
        if name in _OWNED_BY_TRAINING and _is_run(above):
            return f"in {name}/ of the training run {above}"
    if _is_checkpoint(output):
        return "the folder of a checkpoint"
    for distance, (above, _) in enumerate(_folders_above(output)):
        # One that is none of training's may have any name: of those, the nearest is looked at.
        if (distance == 0 or _CHECKPOINT.fullmatch(above.rpartition("/")[2])) and _is_checkpoint(above):
            return f"in the checkpoint {above}"
    return "the folder of a training run" if _is_run(output) else ""


def _folders_above(output: str) -> Iterator[tuple[str, str]]:
    """The folder above an output and the name in it, then the same of that folder, and so on."""
    above, _, name = output.rpartition("/")
    while above.strip("/") and not above.endswith(":/"):
        yield above, name
        above, _, name = above.rpartition("/")


def _is_set(url: str) -> bool:
    """Whether a folder has a sample set's run.json, or a damaged one beside commits."""
    try:
        return "generation" in SampleSet(url).spec()
    except CorruptDataError:
        return bool(storage.list_objects(storage.join(url, "commits")))
    except PermanentStorageError:
        return False


def _is_run(url: str) -> bool:
    """Whether a folder has the configuration that training claims a run's folder with."""
    try:
        content = json.loads(storage.read_bytes(storage.join(url, CONFIG_NAME)))
    except (PermanentStorageError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and all(isinstance(content.get(name), dict) for name in ("identity", "config"))


def _is_checkpoint(url: str) -> bool:
    """Whether a folder has the record that makes it a checkpoint."""
    try:
        read_record(url)
    except ConfigError:
        return True  # of another version
    except (CorruptDataError, PermanentStorageError):
        return False
    return True
