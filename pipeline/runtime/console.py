"""Lines for people: what happened on standard output, what went wrong on standard error, flushed at once."""

import sys
from collections.abc import Sequence


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
