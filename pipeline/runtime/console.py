"""Lines for people, on standard output or standard error, flushed at once; and outcomes for machines."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from pipeline import storage


def say(text: str) -> None:
    """Prints a line of results."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Prints a line about something that went wrong or is worth knowing."""
    print(text, file=sys.stderr, flush=True)


def say_table(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Prints (what, how much) lines under a title; values are never wrapped, so that paths can be copied from a log."""
    width = max(len(name) for name, _ in rows)
    say(title)
    for name, value in rows:
        say(f"  {name:<{width}}  {value}")


def write_summary(url: str | None, outcome: Any) -> None:
    """Writes a job's outcome, a dataclass or a list of them, as JSON; does nothing where no file was asked for."""
    if url is not None:
        plain = [dataclasses.asdict(one) for one in outcome] if isinstance(outcome, list) else dataclasses.asdict(outcome)
        storage.put_replace(storage.absolute_url(url), json.dumps(plain, indent=1).encode() + b"\n")
