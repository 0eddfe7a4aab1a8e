"""Whether an output would lie in a folder that belongs to another sample set, whose repair would move it away."""

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError
from pipeline.samples import SampleSet

_OWNED = frozenset({"data", "commits", "goals", "checkpoint", "quarantine", "lease"})


def refuse_inside_a_set(output: str) -> None:
    """Raises where an output lies in a folder that a sample set fills; asks the store only about names that such folders have.

    Args:
        output: Absolute.

    Raises:
        ConfigError: It does.
        TransientStorageError: The store does not answer.
    """
    above, _, name = output.rpartition("/")
    while above.strip("/") and not above.endswith(":/"):
        if name in _OWNED and _is_set(above):
            expected = "expected a folder that is no other set's"
            raise ConfigError(f"--output: got {output}, which is in {name}/ of the sample set {above}; {expected}")
        above, _, name = above.rpartition("/")


def _is_set(url: str) -> bool:
    """Whether a folder has a sample set's run.json, or a damaged one beside commits."""
    try:
        return "generation" in SampleSet(url).spec()
    except CorruptDataError:
        return bool(storage.list_objects(storage.join(url, "commits")))
    except PermanentStorageError:
        return False
