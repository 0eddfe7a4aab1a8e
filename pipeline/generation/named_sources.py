"""What a user names for `repair` as having moved, the checkpoint and the file of conditions: only the set's own are taken."""

import hashlib
from typing import Any

from pipeline import storage
from pipeline.checkpoints import inspect_checkpoint, resolve
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError
from pipeline.samples import SampleSet


def digest_in_run(url: str, field: str) -> str | None:
    """Returns what run.json says a set is made from, by its digest; None where it does not say.

    Args:
        url: The set's folder.
        field: `checkpoint_digest` or `conditions_sha256`; the latter is empty in a set without a file of conditions.

    Raises:
        TransientStorageError: The store did not answer.
    """
    try:
        spec: dict[str, Any] = SampleSet(url).spec()
        digest = spec["generation"][field]
    except (CorruptDataError, PermanentStorageError, KeyError, TypeError):
        return None
    return digest if isinstance(digest, str) else None


def same_checkpoint(url: str, named: str) -> str:
    """Returns the folder of the checkpoint that the user named, if it is the set's; empty where none was named.

    Where run.json does not say which is the set's, any is taken.

    Args:
        url: The set's folder.
        named: A checkpoint, or a run whose newest it is; empty: none.

    Raises:
        ConfigError: It is another one, or there is none.
        TransientStorageError: The store did not answer.
    """
    digest = digest_in_run(url, "checkpoint_digest")
    if not named or digest is None:
        return named and storage.absolute_url(named)
    try:
        found = resolve(named)
        got = inspect_checkpoint(found).digest
    except (CorruptDataError, PermanentStorageError) as error:
        raise ConfigError(f"--checkpoint: {error}") from error
    if got != digest:
        raise ConfigError(
            f"--checkpoint: got {found} with the digest {got[:12]}, expected that of the set's checkpoint, {digest[:12]}"
        )
    return found


def same_conditions(url: str, named: str) -> str:
    """Returns the URL of the file of conditions that the user named, if it is the set's; empty where none was named.

    Where run.json does not say which is the set's, any is taken.

    Args:
        url: The set's folder.
        named: A file; empty: none.

    Raises:
        ConfigError: It is another one, or there is none.
        TransientStorageError: The store did not answer.
    """
    digest = digest_in_run(url, "conditions_sha256")
    if not named or digest is None:
        return named and storage.absolute_url(named)
    found = storage.absolute_url(named)
    if not digest:
        raise ConfigError(f"--conditions: got {found}, but the set is made without a file of conditions; expected none")
    try:
        got = hashlib.sha256(storage.read_bytes(found)).hexdigest()
    except PermanentStorageError as error:
        raise ConfigError(f"--conditions: {error}") from error
    if got != digest:
        raise ConfigError(
            f"--conditions: got {found} with the SHA-256 {got[:12]}, expected that of the set's conditions, {digest[:12]}"
        )
    return found
