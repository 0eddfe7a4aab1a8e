"""`goals/`: empty objects whose names say how many samples jobs were asked for; the largest counts."""

from typing import NamedTuple

from pipeline import storage
from pipeline.samples.ledger import MAX_SAMPLES

GOALS_NAME = "goals"
"""The folder's name in a set."""


class Goals(NamedTuple):
    """What is in the folder."""

    numbers: list[int]
    """Numbers of samples asked for, in order."""
    strange: dict[str, int]
    """Sizes in bytes of the files that no job has put so, by their names in the folder."""


def goal_name(num_samples: int) -> str:
    """The name of the object that asks for so many samples."""
    return f"{num_samples:012d}"


def goals_of(url: str) -> Goals:
    """The goals of a set.

    Args:
        url: The set's folder.

    Raises:
        StorageError: The store could not be read.
    """
    folder = storage.join(url, GOALS_NAME)
    goals = Goals([], {})
    for found in storage.list_objects(folder, recursive=True):
        name = found.url[len(folder) + 1 :]
        number = int(name) if name.isascii() and name.isdigit() and len(name) <= len(str(MAX_SAMPLES)) else 0
        is_goal = 0 < number <= MAX_SAMPLES and name == goal_name(number)
        if is_goal:
            goals.numbers.append(number)
        if not is_goal or found.size:
            goals.strange[name] = found.size
    goals.numbers.sort()
    return goals
