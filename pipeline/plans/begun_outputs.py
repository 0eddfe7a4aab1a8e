"""Outputs of a sweep that were begun from checkpoints which are gone: a pattern does not find these any more."""

import logging
import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fnmatch import fnmatchcase

from pipeline import storage
from pipeline.errors import CorruptDataError, PermanentStorageError, PermissionDenied
from pipeline.plans.generate_config import GenerateConfig
from pipeline.plans.output_folder import output_url
from pipeline.samples import load_manifest, load_origin
from pipeline.samples.goals import goals_of
from pipeline.samples.manifest import manifest_url

CHECKPOINT = "{checkpoint}"
_NAME = "step-[0-9][^/]*"
_NAME_OF_TRAINING = re.compile("step-[0-9]+")
_THREADS = 16
_log = logging.getLogger(__name__)


def begun_outputs(config: GenerateConfig, pattern: str, there: Collection[str]) -> list[GenerateConfig]:
    """Returns a job for each output that a sweep left unfinished and whose checkpoint its pattern no longer finds.

    Such an output has a copy of its checkpoint, from which it is finished. Finished ones are left alone, and so are those of
    another sweep whose names are longer. Costs one listing of one folder, and a few small requests, many at once, for each
    output whose checkpoint is gone. What may not be looked at is passed over, with a line in the log.

    Args:
        config: The sweep, with `{checkpoint}` in `output` and all else filled in.
        pattern: One pattern for checkpoints, absolute.
        there: Names of the checkpoints that are still there.

    Raises:
        ConfigError: The output is no place to write to.
        StorageError: The store of the outputs could not be asked.
    """
    output = output_url("--output", config.output, may_be_done=True)
    names = [name for name in _names(output) if name not in there]

    def job(name: str) -> GenerateConfig | None:
        return _job(replace(config, output=output.replace(CHECKPOINT, name)), pattern, name)

    with ThreadPoolExecutor(_THREADS) as pool:
        return [begun for begun in pool.map(job, names) if begun is not None]


def with_stars_only(pattern: str) -> str:
    """Returns a pattern in which stars alone are more than themselves."""
    return re.sub(r"([?[])", r"[\1]", pattern)


def _names(output: str) -> list[str]:
    """What `{checkpoint}` stands for in names that are there. Only the folder with these names is listed: for a pattern with
    more folders after it, stores would be asked for what is in each."""
    before, _, after = output.partition(CHECKPOINT)
    parts = (before + CHECKPOINT + after.partition("/")[0]).split(CHECKPOINT)
    named = re.compile(re.escape(parts[0]) + f"({_NAME})" + r"\1".join(map(re.escape, parts[1:])))
    try:
        urls = storage.glob("step-*".join(with_stars_only(part).replace("*", "[*]") for part in parts))
    except PermissionDenied as error:  # all that is lost is what was begun from checkpoints that are gone
        _log.warning("not looking for outputs that were begun from checkpoints which are gone: %s", error)
        return []
    return [found[1] for url in urls if (found := named.fullmatch(url))]


def _job(config: GenerateConfig, pattern: str, name: str) -> GenerateConfig | None:
    """The job that finishes one output, if there is something to finish and it is this sweep's.

    Args:
        config: The sweep, with this output.
        pattern: As in `begun_outputs`.
        name: What stands for the checkpoint in the output's name: of another sweep's it may be more than that.
    """
    try:
        if _is_finished(config.output):
            return None
        origin = load_origin(config.output)
    except PermanentStorageError as error:
        _log.warning("passing over %s, which may have to be finished: %s", config.output, error)
        return None
    except CorruptDataError as error:
        if _NAME_OF_TRAINING.fullmatch(name) is None:
            _log.warning("passing over %s, as nothing tells whether it is of this sweep: %s", config.output, error)
            return None
        return replace(config, checkpoint=storage.join(pattern.rpartition("/")[0], name))  # its plan will name the damage
    if origin is None or origin.given.rpartition("/")[2] != name or not _fits(origin.given, pattern):
        return None
    return replace(config, checkpoint=origin.given)


def _is_finished(url: str) -> bool:
    """Whether a set is published and nobody asked for more. Its manifest, which may have megabytes, is read only where it was
    asked for several numbers of samples."""
    if not storage.exists(manifest_url(url)):
        return False
    goals = goals_of(url).numbers
    try:
        return len(goals) < 2 or goals[-1] <= load_manifest(url).num_samples
    except CorruptDataError:
        return True  # for `verify` to mend


def _fits(url: str, pattern: str) -> bool:
    """Whether a URL is one that a pattern is for; only `**` crosses folders."""
    fits = fnmatchcase(url, pattern) or fnmatchcase(url, with_stars_only(pattern))
    return fits and ("**" in pattern or url.count("/") == pattern.count("/"))
