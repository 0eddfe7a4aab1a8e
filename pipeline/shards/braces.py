"""Patterns with braces: many names in one, as `train-{000000..000010}.tar`."""

import re
from itertools import islice

import braceexpand

from pipeline.errors import ConfigError

FORMS = "expected a .tar, a pattern with {000..010} or *, a folder, a .txt list or an index .json"
"""What a user may name shards by, for messages."""

MAX_NAMES = 1_000_000
"""Names that one pattern may stand for: ten times what large data sets have, and known in seconds for a mistake."""

_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?(\d+))?\}")


def pieces_of(spec: str, asked: str) -> list[str]:
    """The names and patterns that a pattern with braces stands for.

    Args:
        spec: The pattern.
        asked: What the user typed, for messages.

    Raises:
        ConfigError: Braces do not match, or stand for more than `MAX_NAMES` names.
    """
    try:
        spans = [abs(int(last) - int(first)) // max(1, int(step or 1)) for first, last, step in _RANGE.findall(spec)]
        is_endless = max(spans, default=0) >= MAX_NAMES  # asked first: all names of a range are made at once
        names = [] if is_endless else list(islice(braceexpand.braceexpand(spec), MAX_NAMES + 1))
    except ValueError:  # braceexpand.UnbalancedBracesError
        raise ConfigError(f"got {asked!r} with unbalanced braces; {FORMS}") from None
    if is_endless or len(names) > MAX_NAMES:
        raise ConfigError(
            f"got {asked!r}, which stands for more than {MAX_NAMES:,} names, expected at most as many; a folder or * stands "
            "for what is there"
        )
    return names
