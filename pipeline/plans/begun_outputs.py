"""Outputs of a sweep that were begun from checkpoints which are gone: a pattern does not find these any more."""

import re
from collections.abc import Collection
from dataclasses import replace
from fnmatch import fnmatchcase

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.plans.generate_config import GenerateConfig
from pipeline.plans.output_folder import output_url
from pipeline.samples import SampleSet, load_origin

CHECKPOINT = "{checkpoint}"
_STEP = "step-[0-9][^/]*"


def begun_outputs(config: GenerateConfig, pattern: str, there: Collection[str]) -> list[GenerateConfig]:
    """Returns a job for each output that a sweep left unfinished and whose checkpoint its pattern no longer finds.

    Such an output has a copy of its checkpoint, from which it is finished. Finished ones are left alone. Costs one listing, and
    a few requests for each output whose checkpoint is gone.

    Args:
        config: The sweep, with `{checkpoint}` in `output` and all else filled in.
        pattern: One pattern for checkpoints, absolute.
        there: Names of the checkpoints that are still there.

    Raises:
        ConfigError: The output is no place to write to.
        StorageError: The store of the outputs could not be asked.
    """
    before, *rest = output_url("--output", config.output, may_be_done=True).split(CHECKPOINT)
    named = re.compile(re.escape(before) + f"({_STEP})" + r"\1".join(map(re.escape, rest)))
    jobs: list[GenerateConfig] = []
    for url in storage.glob("step-*".join(with_stars_only(part).replace("*", "[*]") for part in (before, *rest))):
        found = named.fullmatch(url)
        if found is None or found[1] in there or not _is_unfinished(url):
            continue
        given = _given(url)
        if given is None:  # damaged; the plan of the output will say so
            given = storage.join(pattern.rpartition("/")[0], found[1])
        elif not _fits(given, pattern):
            continue
        jobs.append(replace(config, checkpoint=given, output=url))
    return jobs


def with_stars_only(pattern: str) -> str:
    """Returns a pattern in which stars alone are more than themselves."""
    return re.sub(r"([?[])", r"[\1]", pattern)


def _is_unfinished(url: str) -> bool:
    if not storage.exists(storage.join(url, "origin.json")):
        return False
    return not storage.exists(storage.join(url, "manifest.json")) or SampleSet(url).grows()


def _given(url: str) -> str | None:
    """The checkpoint that an output was begun with; None where its record is damaged."""
    try:
        origin = load_origin(url)
    except CorruptDataError:
        return None
    return None if origin is None else origin.given


def _fits(url: str, pattern: str) -> bool:
    """Whether a URL is one that a pattern is for; only `**` crosses folders."""
    fits = fnmatchcase(url, pattern) or fnmatchcase(url, with_stars_only(pattern))
    return fits and ("**" in pattern or url.count("/") == pattern.count("/"))
