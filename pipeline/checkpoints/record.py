"""The record that makes a folder a checkpoint: which files belong to it, and their digests."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError

RECORD_NAME = "checkpoint.json"
FORMAT_VERSION = 2
MODEL_NAME = "model.json"
# What training continues from may differ without changing the samples that a checkpoint gives; every other file decides them.
TRAINING_FOLDER = "training/"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file of a checkpoint."""

    size_bytes: int
    """Length of the file."""
    sha256: str
    """Hex digest of its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRecord:
    """The content of checkpoint.json."""

    format_version: int
    """Version of the folder's layout."""
    step: int
    """Optimiser steps done."""
    digest: str
    """Hex SHA-256 over the files that decide the samples: the identity of the model, wherever it is stored."""
    files: dict[str, FileRecord]
    """Every other file of the folder, by its path in the folder."""


_ADAPTER = TypeAdapter(CheckpointRecord)


def record_of(data: bytes) -> FileRecord:
    """Returns the record of a file with the given bytes."""
    return FileRecord(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def make_record(step: int, files: Mapping[str, FileRecord]) -> CheckpointRecord:
    """Returns the record of a checkpoint with the given files."""
    files = dict(sorted(files.items()))
    return CheckpointRecord(format_version=FORMAT_VERSION, step=step, digest=_identity(files), files=files)


def _identity(files: Mapping[str, FileRecord]) -> str:
    lines = "\n".join(f"{name} {files[name].sha256}" for name in sampling_files(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def sampling_files(files: Mapping[str, FileRecord]) -> list[str]:
    """Returns the files that decide the samples, sorted: all but those that training continues from."""
    return sorted(name for name in files if not name.startswith(TRAINING_FOLDER))


def record_bytes(record: CheckpointRecord) -> bytes:
    """Returns the record as JSON."""
    return _ADAPTER.dump_json(record, indent=1)


def read_record(checkpoint_url: str) -> CheckpointRecord:
    """Returns the record of a checkpoint folder.

    Raises:
        CorruptDataError: The record is no valid JSON of the expected form.
        ConfigError: It is of another version: not damaged, so nothing may be put in its place.
        PermanentStorageError: There is no record.
    """
    url = storage.join(checkpoint_url, RECORD_NAME)
    try:
        record = _ADAPTER.validate_json(storage.read_bytes(url))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise CorruptDataError(f"damaged checkpoint: {where}: {first['msg']}", url) from error
    if record.format_version != FORMAT_VERSION:
        raise ConfigError(
            f"checkpoint format {record.format_version}, expected {FORMAT_VERSION}: made by another version ({url})"
        )
    if MODEL_NAME not in record.files:
        raise CorruptDataError(f"damaged checkpoint: the record does not list {MODEL_NAME}", url)
    made = _identity(record.files)
    if record.digest != made:
        raise CorruptDataError(f"damaged checkpoint: digest {record.digest[:12]}, expected {made[:12]} of its files", url)
    return record


def check_sampling_files(checkpoint_url: str, record: CheckpointRecord) -> None:
    """Compares the bytes of every file that decides the samples with the record.

    Raises:
        CorruptDataError: A file is missing or its bytes are not those that were saved.
    """
    for name in sampling_files(record.files):
        read_file(checkpoint_url, record, name)


def read_file(checkpoint_url: str, record: CheckpointRecord, name: str) -> bytes:
    """Returns a file of a checkpoint after comparing it with the record.

    Raises:
        CorruptDataError: The file is missing or its bytes are not those that were saved.
    """
    url = storage.join(checkpoint_url, *name.split("/"))
    if name not in record.files:
        raise CorruptDataError(f"the checkpoint has no file {name}", storage.join(checkpoint_url, RECORD_NAME))
    if not storage.exists(url):
        raise CorruptDataError("damaged checkpoint: the file is missing", url)
    data = storage.read_bytes(url)
    expected = record.files[name]
    got = hashlib.sha256(data).hexdigest()
    if got != expected.sha256:
        raise CorruptDataError(
            f"damaged checkpoint: got {len(data)} bytes with SHA-256 {got[:12]}, expected {expected.size_bytes} bytes "
            f"with {expected.sha256[:12]}",
            url,
        )
    return data
