"""Names on local disks that listings of objects do not show: folders, and links that lead nowhere. Object stores have none."""

import os
from pathlib import Path

from pipeline.storage.local_walk import leads_to_folder, special_kind
from pipeline.storage.objects import exists
from pipeline.storage.retry import retrying
from pipeline.storage.urls import absolute_url, is_local


def no_objects(folder_url: str) -> dict[str, str]:
    """What is in a local folder and no object, by its name: "a folder", "a link that leads nowhere" or, say, "a socket".

    Object stores have nothing of the kind.

    Args:
        folder_url: The folder; where there is none nothing is in it.

    Raises:
        StorageError: The file system refused.
    """
    if not is_local(folder_url):
        return {}
    folder = Path(absolute_url(folder_url))
    return retrying("no_objects", str(folder), lambda: _no_objects(folder))


def is_taken(url: str) -> bool:
    """Whether a name is taken, be it by a link that leads nowhere, which `exists` does not see.

    Raises:
        StorageError: The store could not be asked.
    """
    return exists(url) or (is_local(url) and Path(absolute_url(url)).is_symlink())


def rename(url: str, new_url: str) -> None:
    """Renames a local file, link or folder; the folder of the new name is made.

    Args:
        url: What is to be renamed.
        new_url: A free name on the same file system.

    Raises:
        ValueError: One of them is not local: object stores cannot rename.
        StorageError: The file system refused.
    """
    for one in (url, new_url):
        if not is_local(one):
            raise ValueError(f"got {one}, expected a local path")
    source, target = Path(absolute_url(url)), Path(absolute_url(new_url))

    def move() -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)

    retrying("rename", str(source), move)


def _no_objects(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    if not folder.is_dir():
        return found
    for entry in os.scandir(folder):
        if leads_to_folder(entry):
            found[entry.name] = "a folder"
        elif entry.is_symlink() and not Path(entry.path).exists():
            found[entry.name] = "a link that leads nowhere"
        elif not entry.is_file() and (kind := special_kind(entry.stat().st_mode)):
            found[entry.name] = kind
    return found
