"""The copy of its checkpoint that a sample set keeps: training may remove the one that it was begun with at any time.

It lies under the checkpoint's digest, so it can be made before the set is claimed: two jobs that found different checkpoints do
not mix their files, and a set that is claimed has its checkpoint.
"""

import re

from pipeline import storage
from pipeline.checkpoints import check_copy, copy_for_sampling, is_checkpoint, is_whole_copy
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError, PermissionDenied

_FOLDER = "checkpoint"
_COPY = re.compile(r"[0-9a-f]{12}")


def keep_checkpoint(output: str, checkpoint: str, digest: str) -> str:
    """Copies a checkpoint into a set's folder, or completes or mends the copy, and returns the copy's URL.

    Args:
        output: The set's folder.
        checkpoint: Where the checkpoint was found; only a copy that is whole and sound does without.
        digest: Of the checkpoint.

    Raises:
        CorruptDataError: The checkpoint is damaged, has another digest, or is being removed.
        StorageError: A store failed.
    """
    kept = _kept_url(output, digest)
    is_begun = bool(storage.list_objects(kept, recursive=True))
    if not is_whole_copy(kept):
        if not is_there(checkpoint):
            raise CorruptDataError(
                "the checkpoint was removed since it was found, expected it to stay until it is copied", checkpoint
            )
        copy_for_sampling(checkpoint, kept, digest)
    problem = _problem(kept, digest) if is_begun else None
    if problem is not None:
        if not is_there(checkpoint):
            raise CorruptDataError(
                f"the output's copy of its checkpoint is damaged ({problem}), and {checkpoint} is gone", kept
            )
        copy_for_sampling(checkpoint, kept, digest, replace=True)
    return kept


def check_kept(output: str, digest: str) -> str | None:
    """Returns what is wrong with a set's copy of its checkpoint, in one line; None for a sound copy, and where there is none.

    Args:
        output: The set's folder.
        digest: Of the set's checkpoint.

    Raises:
        PermissionDenied: The copy may not be read.
        TransientStorageError: The store did not answer.
    """
    kept = _kept_url(output, digest)
    if not storage.list_objects(kept, recursive=True):
        return None  # an older set, or one whose copy somebody deleted, as they may
    problem = _problem(kept, digest) if is_whole_copy(kept) else "got an incomplete copy of the checkpoint"
    return problem and f"{_FOLDER}/{_name(digest)}: {problem}"


def mend_kept(output: str, checkpoint: str, digest: str) -> tuple[list[str], list[str]]:
    """Mends a set's copy of its checkpoint from where that was found; returns what was done and what was not, in lines.

    Args:
        output: The set's folder.
        checkpoint: Where the checkpoint was found; empty where that is not known.
        digest: Of the checkpoint.

    Raises:
        StorageError: The copy could not be written, or a store did not answer.
    """
    problem = check_kept(output, digest)
    if problem is None:
        return [], []
    name = f"{_FOLDER}/{_name(digest)}"
    original = checkpoint if checkpoint and checkpoint != _kept_url(output, digest) else ""
    if not original or not is_there(original):
        gone = f"{original} is gone" if original else "nothing says where the original is"
        advice = f"put it back, or delete {name} if the set need neither grow nor be repaired"
        return [], [f"{problem}; {gone}: {advice}; if it moved, say with --checkpoint where to"]
    try:
        copy_for_sampling(original, _kept_url(output, digest), digest, replace=True)
    except (ConfigError, CorruptDataError, PermanentStorageError) as error:
        return [], [f"{problem}; nor can the original be copied: {error}"]
    return [f"{name}: copied again from {original}"], []


def drop_other_copies(output: str, digest: str, source: str) -> None:
    """Removes what killed jobs copied of other checkpoints before one of them claimed the set.

    Args:
        output: The set's folder.
        digest: Of the set's checkpoint.
        source: Where that was found, which may be in this very folder.
    """
    above = storage.join(output, _FOLDER)
    names = {found.url[len(above) + 1 :].partition("/")[0] for found in storage.list_objects(above, recursive=True)}
    for name in names - {_name(digest)}:
        url = storage.join(above, name)
        if _COPY.fullmatch(name) and not f"{source}/".startswith(f"{url}/"):
            storage.remove_tree(url)


def find_checkpoint(output: str, checkpoint: str, digest: str) -> str | None:
    """Returns where the checkpoint of a set can be read: the set's copy, else where it was found; None if it is gone."""
    return next(iter(checkpoint_places(output, checkpoint, digest)), None)


def checkpoint_places(output: str, checkpoint: str, digest: str) -> list[str]:
    """Returns where the checkpoint of a set can be read, the set's copy first.

    Args:
        output: The set's folder.
        checkpoint: Where it was found; empty where that is not known.
        digest: Its digest.
    """
    kept = _kept_url(output, digest)
    found = [kept] if is_whole_copy(kept) else []
    return [*found, checkpoint] if checkpoint and is_there(checkpoint) else found


def is_there(checkpoint: str) -> bool:
    """Returns whether a checkpoint is where it was found; without the right to look, a store says that nothing is there."""
    try:
        return is_checkpoint(checkpoint)
    except PermissionDenied:
        return False


def checkpoint_is_gone(output: str, checkpoint: str) -> ConfigError:
    """The error for a set whose checkpoint is needed and cannot be found."""
    return ConfigError(
        f"the checkpoint that {output} was begun with is gone, and the output has no copy of it; expected it at {checkpoint}: "
        "put it back, name a copy of it with --checkpoint, or begin another output"
    )


def _problem(kept: str, digest: str) -> str | None:
    try:
        check_copy(kept, digest)
    except PermissionDenied:
        raise  # it may well be sound
    except (ConfigError, CorruptDataError, PermanentStorageError) as error:
        return str(error)
    return None


def _kept_url(output: str, digest: str) -> str:
    return storage.join(output, _FOLDER, _name(digest))


def _name(digest: str) -> str:
    return digest[:12]
