"""Nested JSON values, leaf by leaf."""

import json
from pathlib import Path
from typing import Any


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Every value of nested JSON that is no object, by its dotted name."""
    if isinstance(value, dict):
        return {n: v for key, below in value.items() for n, v in leaves(below, f"{name}.{key}" if name else key).items()}
    return {name: value}


def with_leaf(value: dict[str, Any], name: str, leaf: Any) -> dict[str, Any]:
    """A copy in which one leaf has another value."""
    changed = json.loads(json.dumps(value))
    *path, last = name.split(".")
    holder = changed
    for key in path:
        holder = holder[key]
    holder[last] = leaf
    return changed


def written(path: Path, values: Any) -> str:
    """The path of a JSON file with these values."""
    path.write_text(json.dumps(values))
    return str(path)
