"""The copy of its checkpoint that a sample set keeps: training may remove the one that it was begun with at any time.

It lies under the checkpoint's digest, so it can be made before the set is claimed: two jobs that found different checkpoints do
not mix their files, and a set that is claimed has its checkpoint.
"""

from pipeline import storage
from pipeline.checkpoints import copy_for_sampling, is_checkpoint, is_whole_copy
from pipeline.errors import ConfigError

_FOLDER = "checkpoint"


def keep_checkpoint(output: str, checkpoint: str, digest: str) -> str:
    """Copies a checkpoint into a set's folder, or completes the copy, and returns the copy's URL.

    Raises:
        CorruptDataError: The checkpoint is damaged, has another digest, or is being removed.
        StorageError: A store failed.
    """
    kept = _kept_url(output, digest)
    copy_for_sampling(checkpoint, kept, digest)
    return kept


def drop_other_copies(output: str, digest: str) -> None:
    """Removes what killed jobs copied of other checkpoints before one of them claimed the set."""
    above = storage.join(output, _FOLDER)
    names = {found.url[len(above) + 1 :].partition("/")[0] for found in storage.list_objects(above, recursive=True)}
    for name in names - {_name(digest)}:
        storage.remove_tree(storage.join(above, name))


def find_checkpoint(output: str, checkpoint: str, digest: str) -> str | None:
    """Returns where the checkpoint of a set can be read: the set's copy, else where it was found; None if it is gone."""
    kept = _kept_url(output, digest)
    if is_whole_copy(kept):
        return kept
    return checkpoint if is_checkpoint(checkpoint) else None


def checkpoint_is_gone(output: str, checkpoint: str) -> ConfigError:
    """The error for a set whose checkpoint is needed and cannot be found."""
    return ConfigError(
        f"the checkpoint that {output} was begun with is gone, and the output has no copy of it; expected it at {checkpoint}: "
        "put it back, name a copy of it with --checkpoint, or begin another output"
    )


def _kept_url(output: str, digest: str) -> str:
    return storage.join(output, _FOLDER, _name(digest))


def _name(digest: str) -> str:
    return digest[:12]
