"""On local disks: folders, links that lead nowhere, pipes and the like under names where a sample set has files."""

from collections.abc import Callable

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.samples.findings import Findings
from pipeline.samples.for_people import FOR_PEOPLE
from pipeline.samples.goals import GOALS_NAME
from pipeline.samples.ledger import parse_commit_name, parse_part_name
from pipeline.samples.quarantine import moved_aside
from pipeline.samples.tar_part import INDEX_NAMES

_FILES = "run.json", "origin.json", "manifest.json", *FOR_PEOPLE
_FOLDERS = "data", "commits", GOALS_NAME


def obstacles(url: str) -> dict[str, str]:
    """What is in the way of a set's files and folders, by its name in the set: "a folder", "a file", or, say, "a named pipe".

    Listings do not show these, and nothing can be read from them or put over them. On object stores there is none.

    Args:
        url: The set's folder.

    Raises:
        StorageError: The file system refused.
    """
    if not storage.is_local(url):
        return {}
    here = storage.no_objects(url)
    found = {name: here[name] for name in _FILES if name in here}
    for folder in _FOLDERS:
        below = storage.join(url, folder)
        if storage.is_taken(below) and not storage.is_folder(below):
            found[folder] = here.get(folder, "a file")
        for name, kind in sorted(storage.no_objects(below).items()):
            if kind != "a folder" or _is_name_of_a_file(folder, name):
                found[f"{folder}/{name}"] = kind
    return found


def check_obstacles(url: str, findings: Findings) -> None:
    """Notes what is in the way."""
    for name, kind in obstacles(url).items():
        findings.add(f"{name}: got {kind}, expected {'a folder' if name in _FOLDERS else 'a file'}")


def mend_obstacles(url: str, check: Callable[[], None] = lambda: None) -> list[str]:
    """Moves what is in the way to `quarantine/`, whole; returns what was done, in lines.

    Args:
        url: The set's folder.
        check: Called before anything is moved; raises where another job took the folder over.

    Raises:
        CommitConflict: From `check`.
        StorageError: The file system refused.
    """
    done: list[str] = []
    for name in obstacles(url):
        check()
        done.append(moved_aside(url, name))
        if name.startswith(f"{GOALS_NAME}/") and _is_name_of_a_file(*name.split("/")):
            storage.put_once(storage.join(url, name), b"")  # nothing else would tell that it was asked for
    return done


def _is_name_of_a_file(folder: str, name: str) -> bool:
    """Whether a set has, or may have, a file of this name in this folder; folders of other names are in nobody's way."""
    if folder == "data":
        return parse_part_name(name) is not None or name in INDEX_NAMES
    if folder == GOALS_NAME:
        return name.isascii() and name.isdigit()
    try:
        parse_commit_name(name, folder)
        return True
    except CorruptDataError:
        return False
