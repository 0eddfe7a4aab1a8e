"""A run folder belongs to one run: what may change when it is continued, and what may not."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline import storage
from pipeline.errors import ConfigError, ResumeMismatch

CONFIG_NAME = "config.json"


def check_run_folder(run_url: str, identity: Mapping[str, Any]) -> bool:
    """Returns whether the folder already belongs to this run; False for a folder that is new or empty.

    Args:
        run_url: The run's folder.
        identity: What makes the run this run, as JSON values.

    Raises:
        ResumeMismatch: The folder belongs to a run with another identity; names the first field that differs.
        ConfigError: The folder's configuration cannot be read.
    """
    url = storage.join(run_url, CONFIG_NAME)
    if not storage.exists(url):
        return False
    try:
        saved = json.loads(storage.read_bytes(url))["identity"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"expected the configuration of a run in {url}, got {error!r}") from error
    for name, here, there in differences(identity, saved):
        raise ResumeMismatch(
            f"{run_url} belongs to another run: {name} is {here!r} now, {there!r} there; give another --run-dir"
        )
    return True


def write_run_config(run_url: str, identity: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Claims a run folder: writes the resolved configuration and the identity once.

    Raises:
        ResumeMismatch: Another run claimed the folder in the meantime.
    """
    document = json.dumps({"identity": identity, "config": config}, indent=1, sort_keys=True).encode() + b"\n"
    if not storage.put_once(storage.join(run_url, CONFIG_NAME), document):
        check_run_folder(run_url, identity)


def differences(here: Any, there: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields (dotted name, value here, value there) for every leaf in which two JSON values differ, in the order of names."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        for key in sorted(here.keys() | there.keys()):
            yield from differences(here.get(key), there.get(key), f"{name}.{key}" if name else key)
    elif here != there:
        yield name, here, there
