"""What calls in Python are given, which comes without a command line's checks: each of its kind, or refused by name."""

from numbers import Integral

from pipeline.errors import ConfigError

_SHOWN = 80
"""Characters of a value in a message."""


def expect(kind: type | tuple[type, ...], expected: str, **values: object) -> None:
    """Refuses what is of another kind.

    Args:
        kind: The kind, or several.
        expected: What they are in words, for the error.
        values: What was given, by the arguments' names. True and False are numbers to Python, and none here.

    Raises:
        ConfigError: One is of none of these kinds.
    """
    for name, value in values.items():
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError(f"{name}: got {' '.join(repr(value).split()):.{_SHOWN}}, expected {expected}")


def whole(name: str, value: object, least: int | None = None, most: int | None = None) -> int:
    """Returns Python's own integer for a whole number, which may be numpy's: those are no JSON.

    Args:
        name: The argument's name.
        value: What was given.
        least: The smallest that there may be; None for no bound.
        most: The largest, likewise.

    Raises:
        ConfigError: It is no whole number, or beyond a bound.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f"{name} must be a whole number, got {value!r}")
    number = int(value)
    if least is not None and number < least:
        raise ConfigError(f"{name} must be at least {least}, got {number}")
    if most is not None and number > most:
        raise ConfigError(f"{name} must be at most {most:,}, got {number:,}")
    return number
