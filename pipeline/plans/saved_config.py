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
        values = json.loads(storage.read_bytes(url, or_pipe=True))  # --config <(jq ... base.json)
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
        where = ".".join(part for part in map(str, first["loc"]) if not part.startswith("<"))
        if first["type"] == "union_tag_invalid":
            expected = first.get("ctx", {})["expected_tags"].replace("'<", "").replace(">'", "")
            raise ConfigError(f"{where}.kind: got {first['input']['kind']!r}, expected one of {expected}, in {url}") from error
        raise ConfigError(f"{where}: {first['msg']}, got {first['input']!r}, in {url}") from error


def _unknown_fields(kind: Any, values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, list[str]]]:
    hints = typing.get_type_hints(kind)  # without the Annotated around them
    known = [f.name for f in dataclasses.fields(kind)]
    for name, value in values.items():
        if name not in known:
            yield prefix + name, known
        elif isinstance(value, Mapping) and (below := _dataclass_of(hints[name], value)) is not None:
            yield from _unknown_fields(below, value, f"{prefix}{name}.")


def _dataclass_of(hint: Any, value: Mapping[str, Any]) -> type[Any] | None:
    """The dataclass that a field's value is read as: the field's type, or the one of a union that its `kind` names."""
    choices = [choice for choice in typing.get_args(hint) or (hint,) if dataclasses.is_dataclass(choice)]
    for choice in choices:
        default = next((f.default for f in dataclasses.fields(choice) if f.name == "kind"), None)
        if len(choices) == 1 or value.get("kind", default) == default:
            return typing.cast(type[Any], choice)
    return None  # the validator says which kinds there are
