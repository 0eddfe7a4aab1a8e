"""What a user is told when a local folder cannot be made, locked or written."""

import errno
import os
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import ConfigError, PermanentStorageError, PermissionDenied, StorageError


@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_a_file_in_the_way_is_the_users_mistake(tmp_path: Path, below: str):
    (tmp_path / "file").write_bytes(b"")
    folder = str(tmp_path / "file" / below)
    with pytest.raises(ConfigError, match=f"got {folder}, where a file is in the way"), storage.locked(folder):
        pytest.fail("held what cannot be")


@pytest.mark.parametrize("call", ["mkdir", "open"])
@pytest.mark.parametrize(
    ("number", "expected", "words"),
    [
        (errno.EROFS, PermissionDenied, "locking the folder: permission denied: .*Read-only file system"),
        (errno.ENOSPC, PermanentStorageError, "disk full while locking the folder"),
        (errno.EACCES, PermissionDenied, "locking the folder: permission denied"),
        (errno.EIO, PermanentStorageError, "locking the folder failed: .*Input/output error"),
    ],
)
def test_a_folder_that_cannot_be_written_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, expected: type[StorageError], words: str
):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "named by the system")

    monkeypatch.setattr(Path, call, refuse)
    folder = str(tmp_path / "run")
    with pytest.raises(expected, match=rf"^{words}.*\({folder}\)$") as caught, storage.locked(folder):
        pytest.fail("held what cannot be")
    assert type(caught.value) is expected


def test_what_fails_while_the_folder_is_held_is_left_as_it_is(tmp_path: Path):
    with pytest.raises(NotADirectoryError), storage.locked(str(tmp_path)):
        raise NotADirectoryError
    with storage.locked(f"file://{tmp_path}/run") as problem:
        assert problem == ""
