"""What a user names for `repair` as having moved, the checkpoint and the file of conditions: only the set's own are taken."""

import hashlib
from collections.abc import Callable
from typing import Any

from pipeline import storage
from pipeline.checkpoints import inspect_checkpoint, resolve, without_latest
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError, PermissionDenied
from pipeline.samples import SampleSet


def digest_in_run(url: str, field: str) -> str | None:
    """Returns what run.json says a set is made from, by its digest; None where it does not say.

    Args:
        url: The set's folder.
        field: `checkpoint_digest` or `conditions_sha256`; the latter is empty in a set without a file of conditions.

    Raises:
        PermissionDenied: run.json may not be read.
        TransientStorageError: The store did not answer.
    """
    try:
        spec: dict[str, Any] = SampleSet(url).spec()
        digest = spec["generation"][field]
    except PermissionDenied:
        raise
    except (CorruptDataError, PermanentStorageError, KeyError, TypeError):
        return None
    return digest if isinstance(digest, str) else None


def same_checkpoint(url: str, named: str) -> str:
    """Returns the folder of the checkpoint that the user named, if it is the set's; empty where none was named.

    Where run.json does not say which is the set's, any is taken.

    Args:
        url: The set's folder.
        named: A checkpoint, or a run (URL or URL@latest) whose newest it is; empty: none.

    Raises:
        ConfigError: It is another one, or there is none.
        TransientStorageError: The store did not answer.
    """

    def look() -> tuple[str, str]:
        found = resolve(named)
        return found, inspect_checkpoint(found).digest

    expected = digest_in_run(url, "checkpoint_digest")
    if not named or expected is None:
        return named and storage.absolute_url(without_latest(named))
    return _same("--checkpoint", look, expected, "the digest", "the set's checkpoint")


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
    found = named and storage.absolute_url(named)

    def look() -> tuple[str, str]:
        return found, hashlib.sha256(storage.read_bytes(found)).hexdigest()

    expected = digest_in_run(url, "conditions_sha256")
    if not found or expected is None:
        return found
    if not expected:
        raise ConfigError(f"--conditions: got {found}, but the set is made without a file of conditions; expected none")
    return _same("--conditions", look, expected, "the SHA-256", "the set's conditions")


def _same(flag: str, look: Callable[[], tuple[str, str]], expected: str, kind: str, whose: str) -> str:
    """Where what the user named was found, if its digest is the expected one.

    Args:
        flag: The flag that it was named with.
        look: Returns where it is and its digest.
        expected: The set's.
        kind: What the digest is called.
        whose: What has the expected one.
    """
    try:
        found, got = look()
    except (CorruptDataError, PermanentStorageError) as error:
        raise ConfigError(f"{flag}: {error}") from error
    if got != expected:
        raise ConfigError(f"{flag}: got {found} with {kind} {got[:12]}, expected that of {whose}, {expected[:12]}")
    return found
