"""Command lines to configurations: tyro makes the flags, mistakes become one line each."""

import contextlib
import difflib
import io
import re
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from pipeline.errors import ConfigError

_Command = TypeVar("_Command")


def parse_flags(kind: type[_Command], argv: Sequence[str], default: _Command, prog: str) -> _Command:
    """Returns a dataclass filled from flags; --help prints them all and exits.

    Raises:
        ConfigError: With one line on the first mistake.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            command, unknown = tyro.cli(kind, args=argv, default=default, prog=prog, return_unknown_args=True)
    except SystemExit as end:
        if not end.code:
            raise
        raise ConfigError(_one_line(said.getvalue())) from None
    if unknown:
        raise ConfigError(_unknown_flag(unknown[0], kind, default))
    return command


def _unknown_flag(got: str, kind: type[Any], default: Any) -> str:
    if not got.startswith("-"):
        return f"unexpected argument {got!r}; expected flags such as --seed 1"
    known = re.findall(r"--[a-z0-9][a-z0-9.-]*", _help(kind, default))
    flag = got.split("=")[0]
    nearest = difflib.get_close_matches(flag, known, n=1, cutoff=0.5)
    return f"unknown flag {flag}; " + (f"did you mean {nearest[0]}?" if nearest else "--help lists all flags")


def _help(kind: type[Any], default: Any) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        tyro.cli(kind, args=["--help"], default=default)
    return said.getvalue()


def _one_line(box: str) -> str:
    """The message inside tyro's box, without frame, help text and line breaks."""
    lines = [line.strip("│╭╮╰╯─ \n") for line in box.splitlines()]
    text = " ".join(line for line in lines[1:] if line)
    for end in ("Argument helptext", "For full helptext"):
        text = text.partition(end)[0]
    return text.strip() or " ".join(line for line in lines if line)


def arguments() -> list[str]:
    """Returns this process's command line without the script's name."""
    return sys.argv[1:]
