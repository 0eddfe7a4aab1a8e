"""Lines for people, on standard output or standard error, flushed at once; and outcomes for machines."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from pipeline import storage


def say(text: str) -> None:
    """Prints a line of results."""
    _print(text, sys.stdout)


def warn(text: str) -> None:
    """Prints a line about something that went wrong or is worth knowing."""
    _print(text, sys.stderr)


_told_early: set[str] = set()


def fail(reason: str, *, early: bool = False) -> None:
    """Prints why a job fails.

    Args:
        reason: Why.
        early: Whether who prints it is not the job itself but who watches it, and knew first: the job then says no more.
    """
    if reason in _told_early:
        return
    if early:
        _told_early.add(reason)
    warn(f"failed: {reason}")


def _print(text: str, to: TextIO) -> None:
    # Names of files and members are bytes, and need not be of the terminal's encoding; a name that is not is shown escaped.
    encoding = to.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=to, flush=True)


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
