"""run.json: what a sample set was made from, written once and compared on every resume."""

import json
from collections.abc import Mapping
from typing import cast

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError, ResumeMismatch
from pipeline.samples.schema import canonical_json

_SHOWN_DIFFERENCES = 3
_NOTHING = object()


def run_url(url: str) -> str:
    """Where the spec of the set in folder `url` is."""
    return storage.join(url, "run.json")


def spec_bytes(spec: Mapping[str, object]) -> bytes:
    """run.json's content: canonical JSON, indented for people, and a newline.

    Raises:
        ConfigError: The spec holds something that JSON cannot.
    """
    plain = json.loads(canonical_json(spec))
    return (json.dumps(plain, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def parse_spec(data: bytes, uri: str) -> dict[str, object]:
    """The spec whose `spec_bytes` is exactly `data`.

    Raises:
        CorruptDataError: There is none.
    """
    try:
        spec = json.loads(data)
        again = spec_bytes(spec) if isinstance(spec, dict) else b""
    except (ValueError, RecursionError, ConfigError) as error:  # 1e905 is JSON to Python, and an infinite number
        raise CorruptDataError(f"got no JSON: {error}", uri) from error
    if again != data:
        raise CorruptDataError("got bytes that are not the canonical JSON of a run's spec", uri)
    return cast("dict[str, object]", spec)


def refuse_other_spec(stored: Mapping[str, object], given: Mapping[str, object], uri: str) -> None:
    """Nothing if both specs are the same JSON.

    Raises:
        ResumeMismatch: They are not; names the first fields that differ.
    """
    before, now = _leaves(json.loads(canonical_json(stored))), _leaves(json.loads(canonical_json(given)))
    different = [name for name in sorted(before.keys() | now.keys()) if before.get(name, _NOTHING) != now.get(name, _NOTHING)]
    if not different:
        return
    shown = [f"{name}: got {now.get(name, 'nothing')}, expected {before.get(name, 'nothing')}" for name in different]
    more = f"; and {len(shown) - _SHOWN_DIFFERENCES} more" if len(shown) > _SHOWN_DIFFERENCES else ""
    raise ResumeMismatch(f"this folder belongs to another run: {'; '.join(shown[:_SHOWN_DIFFERENCES])}{more} ({uri})")


def _leaves(value: object, name: str = "") -> dict[str, str]:
    """Every value that is not a non-empty mapping, as JSON text by its dotted name: 1 and 1.0 and true are three values."""
    if isinstance(value, dict) and value:
        leaves: dict[str, str] = {}
        for key, below in value.items():
            leaves |= _leaves(below, f"{name}.{key}" if name else str(key))
        return leaves
    return {name or "spec": json.dumps(value, ensure_ascii=False)}
