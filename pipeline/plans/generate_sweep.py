"""One command, several outputs: placeholders in URLs, and a list of checkpoints with an output each."""

import re
from dataclasses import replace
from datetime import datetime

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.plans.generate_config import GenerateConfig

LATEST = "@latest"
_CHECKPOINT, _DATE = "{checkpoint}", "{date}"


def one_output_each(config: GenerateConfig) -> list[GenerateConfig]:
    """Returns a job for each checkpoint, all placeholders filled in; nothing depends on the clock.

    Args:
        config: `checkpoint` may be several, separated by commas, or a pattern with `*`. `output` then has `{checkpoint}`, which
            becomes the checkpoint folder's name. `{date}` in any URL becomes `date`.

    Raises:
        ConfigError: A placeholder without its value, several checkpoints for one output, or a pattern that nothing matches.
    """
    config = _dated(config)
    named = [part.strip() for part in config.checkpoint.split(",") if part.strip()]
    if any("*" in part for part in named):
        named = [url for part in named for url in (_matches(part) if "*" in part else [part])]
    if len(named) > 1 and _CHECKPOINT not in config.output:
        raise ConfigError(f"got {len(named)} checkpoints for one output, expected {_CHECKPOINT} in --output {config.output}")
    if _CHECKPOINT not in config.output:
        return [replace(config, checkpoint=named[0]) if named else config]
    jobs = [replace(config, checkpoint=url, output=config.output.replace(_CHECKPOINT, _name(url))) for url in named]
    outputs = [job.output for job in jobs]
    for output in outputs:
        if outputs.count(output) > 1:
            raise ConfigError(f"got several checkpoints for the output {output}, expected one each")
    if not jobs:
        raise ConfigError("--checkpoint is missing; expected a path or URL")
    return jobs


def dated(flag: str, url: str, date: str) -> str:
    """Returns a URL with `{date}` filled in.

    Args:
        flag: The flag that it was given with, for the error.
        url: With `{date}` or without.
        date: The run's date, empty if there is none.

    Raises:
        ConfigError: There is a `{date}` and no date.
    """
    if _DATE in url and not date:
        raise ConfigError(f"got {_DATE} in {flag} {url} without --date, expected the run's date, such as 2026-01-31")
    return url.replace(_DATE, date)


def _dated(config: GenerateConfig) -> GenerateConfig:
    given = {name: getattr(config, name) for name in ("checkpoint", "output", "conditions")}
    filled = {name: dated(f"--{name}", url, config.date) for name, url in given.items()}
    if config.date:
        try:
            datetime.fromisoformat(config.date)
        except ValueError:
            raise ConfigError(f"date: got {config.date!r}, expected a date such as 2026-01-31 or 2026-01-31T06") from None
        if filled == given:
            raise ConfigError(f"got --date {config.date}, but neither --checkpoint nor --output nor --conditions has {_DATE}")
    return replace(config, **filled)


def _matches(pattern: str) -> list[str]:
    found = [url for url in storage.glob(storage.absolute_url(pattern)) if storage.exists(storage.join(url, "checkpoint.json"))]
    if not found:
        raise ConfigError(f"got no checkpoint for --checkpoint {pattern}, expected at least one")
    return sorted(found)


def _name(url: str) -> str:
    """The name of a checkpoint folder: what a run folder's newest checkpoint is called changes while it trains."""
    name = url.rstrip("/").rpartition("/")[2]
    if url.endswith(LATEST) or not re.match("step-[0-9]", name):
        raise ConfigError(f"got {url} with {_CHECKPOINT} in --output, expected checkpoint folders (step-...) and no run folder")
    return name
