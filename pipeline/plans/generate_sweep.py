"""One command, several outputs: placeholders in URLs, and a list of checkpoints with an output each."""

import re
from dataclasses import replace
from datetime import datetime

from pipeline import storage
from pipeline.checkpoints import without_latest
from pipeline.errors import ConfigError
from pipeline.plans.begun_outputs import CHECKPOINT, begun_outputs, with_stars_only
from pipeline.plans.generate_config import GenerateConfig

_DATE = "{date}"
_DATE_FORMS = re.compile(r"\d{4}-\d{2}-\d{2}(?:T\d{2})?", re.ASCII)


def one_output_each(config: GenerateConfig) -> list[GenerateConfig]:
    """Returns a job for each checkpoint, all placeholders filled in; nothing depends on the clock.

    Args:
        config: `checkpoint` may be several, separated by commas, or a pattern with `*`. `output` then has `{checkpoint}`, which
            becomes the checkpoint folder's name. `{date}` in any URL becomes `date`.

    Raises:
        ConfigError: A placeholder without its value, several checkpoints for one output, or a pattern that nothing matches.
    """
    config = _dated(config)
    jobs: list[GenerateConfig] = []
    for named in _named(config.checkpoint):
        is_pattern, has_name = "*" in named, CHECKPOINT in config.output
        found = [(_name(url) if has_name else url, url) for url in (_matches(named) if is_pattern else [named])]
        names = {name for name, _ in found}
        begun = begun_outputs(config, storage.absolute_url(named), names) if is_pattern and has_name else []
        if not begun and not found:
            comma = "; commas separate several" if "," in config.checkpoint else ""
            raise ConfigError(f"got no checkpoint for --checkpoint {named}, expected at least one{comma}")
        jobs += [job for job in begun if job.output not in {other.output for other in jobs}]  # one that two patterns claim
        jobs += [replace(config, checkpoint=url, output=config.output.replace(CHECKPOINT, name)) for name, url in found]
    if CHECKPOINT not in config.output:
        if len(jobs) > 1:
            raise ConfigError(f"got {len(jobs)} checkpoints for one output, expected {CHECKPOINT} in --output {config.output}")
        return jobs or [config]
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
            is_date = _DATE_FORMS.fullmatch(config.date) is not None and bool(datetime.fromisoformat(config.date))
        except ValueError:
            is_date = False
        if not is_date:
            raise ConfigError(f"date: got {config.date!r}, expected a date such as 2026-01-31 or 2026-01-31T06")
        if filled == given:
            raise ConfigError(f"got --date {config.date}, but neither --checkpoint nor --output nor --conditions has {_DATE}")
    return replace(config, **filled)


def _named(checkpoints: str) -> list[str]:
    """The parts between commas, unless there is something whose name has one."""
    whole = checkpoints.strip()
    if "," in whole and (_matches(whole) if "*" in whole else storage.exists(without_latest(whole))):
        return [whole]
    return [part.strip() for part in checkpoints.split(",") if part.strip()]


def _matches(pattern: str) -> list[str]:
    """The checkpoints that a pattern finds; where it finds none, all but its stars is taken by the letter."""
    for tried in (pattern, with_stars_only(pattern)):
        urls = storage.glob(storage.absolute_url(tried))
        if found := [url for url in urls if storage.exists(storage.join(url, "checkpoint.json"))]:
            return sorted(found)
    return []


def _name(url: str) -> str:
    """The name of a checkpoint folder: what a run folder's newest checkpoint is called changes while it trains."""
    name = url.rstrip("/").rpartition("/")[2]
    if without_latest(url) != url or not re.match("step-[0-9]", name):
        raise ConfigError(f"got {url} with {CHECKPOINT} in --output, expected checkpoint folders (step-...) and no run folder")
    return name
