"""Configurations as JSON files: strict reading, and the comparison of a folder's configuration with the one given now."""

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline import storage
from pipeline.errors import ConfigError

_Config = TypeVar("_Config")


def load_config(kind: type[_Config], url: str) -> _Config:
    """Returns a configuration dataclass read from a JSON file.

    The `config.json` of a run folder, which wraps the configuration, is read as well.

    Raises:
        ConfigError: The file is missing, is no JSON, or has a field that is unknown, of the wrong type or out of range.
    """
    url = storage.absolute_url(url)
    if not storage.exists(url):
        raise ConfigError(f"no configuration file at {url}")
    try:
        values = json.loads(storage.read_bytes(url))
    except ValueError as error:
        raise ConfigError(f"expected a JSON object in {url}, got: {error}") from error
    if isinstance(values, dict) and {"config", "identity"} <= values.keys():
        values = values["config"]
    if not isinstance(values, dict):
        raise ConfigError(f"expected a JSON object in {url}, got {type(values).__name__}")
    for name, known in _unknown_fields(kind, values, ""):
        nearest = difflib.get_close_matches(name.rpartition(".")[2], known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; expected one of {', '.join(sorted(known))}"
        raise ConfigError(f"unknown field {name} in {url}{hint}")
    try:
        # As JSON, where strictness still lets a list be a tuple and 1 a float, but not "1" or true an integer.
        return TypeAdapter(kind).validate_json(json.dumps(values), strict=True)
    except ConfigError as error:
        raise ConfigError(f"{error}, in {url}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}, in {url}") from error


def _unknown_fields(kind: Any, values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, list[str]]]:
    hints = typing.get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind)]
    for name, value in values.items():
        if name not in known:
            yield prefix + name, known
        elif dataclasses.is_dataclass(hints[name]) and isinstance(value, Mapping):
            yield from _unknown_fields(hints[name], value, f"{prefix}{name}.")
