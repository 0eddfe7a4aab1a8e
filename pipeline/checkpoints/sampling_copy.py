"""A copy of what a checkpoint's samples are made from, for whoever must not lose it: training removes old checkpoints.

It is a checkpoint itself, with the same digest, and without what training continues from.
"""

from collections.abc import Callable, Iterable

from pipeline import storage
from pipeline.checkpoints.diffusers_folder import SCHEDULER_CONFIG, UNET_CONFIG, UNET_WEIGHTS
from pipeline.checkpoints.foreign import foreign_digest, read_foreign_files
from pipeline.checkpoints.record import (
    MODEL_NAME,
    RECORD_NAME,
    check_sampling_files,
    make_record,
    read_file,
    read_record,
    record_bytes,
    sampling_files,
)
from pipeline.errors import CorruptDataError


def is_whole_copy(url: str) -> bool:
    """Returns whether a copy was made to the end."""
    if storage.exists(storage.join(url, RECORD_NAME)):
        return True
    return not storage.exists(_at(url, MODEL_NAME)) and storage.exists(_at(url, UNET_CONFIG))


def check_copy(url: str, digest: str) -> None:
    """Reads a whole copy and compares it with what it was made from.

    Raises:
        CorruptDataError: A file is missing or damaged, or the digest is another.
        ConfigError: A diffusers folder that cannot be sampled here.
        StorageError: The store failed.
    """
    if storage.exists(storage.join(url, RECORD_NAME)):
        record = read_record(url)
        _check(record.digest, digest, url)
        check_sampling_files(url, record)
    else:
        _check(foreign_digest(read_foreign_files(url)), digest, url)


def copy_for_sampling(source_url: str, target_url: str, digest: str, *, replace: bool = False) -> None:
    """Copies the files that decide the samples, one in memory at a time; goes on where a killed copy of the same ended.

    Any number of writers may do so at once: what they write is the same.

    Args:
        source_url: A checkpoint folder, or a folder that diffusers saved.
        target_url: The copy's folder, of this digest alone.
        digest: What the checkpoint's digest must be.
        replace: Whether to write the files again that are there.

    Raises:
        CorruptDataError: A file is missing or damaged, or the digest is another.
        ConfigError: A diffusers folder that cannot be sampled here.
        StorageError: A store failed.
    """
    is_ours = storage.exists(storage.join(source_url, RECORD_NAME))
    for name, read in _ours(source_url, digest) if is_ours else _foreign(source_url, digest):
        if replace:
            storage.put_replace(_at(target_url, name), read())
        elif not storage.exists(_at(target_url, name)):
            storage.put_once(_at(target_url, name), read())


_File = tuple[str, Callable[[], bytes]]


def _ours(url: str, digest: str) -> Iterable[_File]:
    record = read_record(url)
    _check(record.digest, digest, url)
    names = sampling_files(record.files)
    # The model first, by which an unfinished copy is not taken for a diffusers folder; the record last.
    for name in sorted(names, key=lambda name: name != MODEL_NAME):
        yield name, lambda name=name: read_file(url, record, name)
    yield RECORD_NAME, lambda: record_bytes(make_record(record.step, {name: record.files[name] for name in names}))


def _foreign(url: str, digest: str) -> Iterable[_File]:
    files = read_foreign_files(url)
    _check(foreign_digest(files), digest, url)
    for name in (UNET_WEIGHTS, SCHEDULER_CONFIG, UNET_CONFIG):
        yield name, lambda name=name: files[name]


def _check(got: str, expected: str, url: str) -> None:
    if got != expected:
        raise CorruptDataError(f"the checkpoint changed: digest {got[:12]}, expected {expected[:12]}", url)


def _at(url: str, name: str) -> str:
    return storage.join(url, *name.split("/"))
