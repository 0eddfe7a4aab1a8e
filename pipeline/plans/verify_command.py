"""The command line of verify.py."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError

USAGE = "usage: verify.py URL [--no-images] [--repair [--checkpoint URL] [--conditions FILE]], URL being a sample set's folder"
HELP = f"""{USAGE}

Exit code 0: finished and undamaged; 1: unfinished or damaged; 2: no sample set there, or one that may not be read.

--no-images compares all bytes with their digests, and decodes no image: much faster for large sets.
--repair makes broken parts again from the checkpoint that the set was made from, and puts them in place if they have the
digests that were committed; it mends the output's copy of the checkpoint from the original, run.json, the ledger, the
manifest, the index of shards, the contact sheet and a card that is missing or no text, and moves a damaged origin.json,
files that belong to no part and what is in the place of a file to quarantine/.
--checkpoint URL and --conditions FILE say to --repair where these are by now, if they moved; others than those that the set
was made from are refused by their digests. A run's folder (URL or URL@latest) stands for its newest good checkpoint, as it does
for generate.py."""
_PLACES = ("--checkpoint", "--conditions")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyCommand:
    """Check a sample set, and mend it."""

    url: str
    """The set's folder."""
    images: bool
    """Whether images are decoded."""
    repair: bool
    """Whether what is broken is mended."""
    checkpoint: str
    """Where the set's checkpoint is now, for repair; empty: where it was."""
    conditions: str
    """Where the set's file of conditions is now, for repair; empty: where it was."""


def parse_verify(argv: Sequence[str]) -> VerifyCommand:
    """Returns the command of a command line.

    Raises:
        ConfigError: It is not of the form that `USAGE` says.
    """
    rest, places = list(argv), dict.fromkeys(_PLACES, "")
    urls: list[str] = []
    while rest:
        given = rest.pop(0)
        flag, is_joined, value = given.partition("=")
        if flag in _PLACES:
            value = value if is_joined else rest.pop(0) if rest and not rest[0].startswith("--") else ""
            if not value:
                raise ConfigError(f"{flag}: got no value, expected a path or URL; {USAGE}")
            places[flag] = value
        elif given not in ("--repair", "--no-images"):
            urls.append(given)
    if len(urls) != 1 or urls[0].startswith("-"):
        raise ConfigError(f"got {' '.join(argv) or 'no arguments'}; {USAGE}")
    repair = "--repair" in argv
    for flag, value in places.items():
        if value and not repair:
            raise ConfigError(f"got {flag} {value} without --repair, expected both: only repair needs it; {USAGE}")
    return VerifyCommand(
        url=urls[0],
        images="--no-images" not in argv,
        repair=repair,
        checkpoint=places["--checkpoint"],
        conditions=places["--conditions"],
    )
