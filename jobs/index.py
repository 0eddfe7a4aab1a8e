"""Index shards that were packed elsewhere: python jobs/index.py --shards URLS [--output URL]."""

from dataclasses import dataclass

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError
from pipeline.plans.flags import arguments, parse_flags
from pipeline.plans.index_plan import plan_indexing
from pipeline.runtime.console import say_table, warn
from pipeline.runtime.index_run import run_indexing
from pipeline.runtime.job import OK, run_job
from pipeline.runtime.session import ray_session
from pipeline.shards import save_index
from pipeline.telemetry import ProgressPoint, ProgressReporter


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexCommand:
    """Read the headers of WebDataset shards and write an index: later jobs start at once, and notice shards that changed."""

    shards: str = ""
    """A pattern with braces or wildcards, a folder, a list of URLs in a .txt file, an index file, or one .tar."""
    output: str = ""
    """Folder or URL for the index; by default the folder that holds the shards."""
    checksums: bool = False
    """Read the shards whole and keep a checksum of every sample: later jobs then notice bytes that changed on a disk or on
    their way, and still decode."""


def main() -> int:
    """Indexes and reports; returns the exit code."""
    command = parse_flags(IndexCommand, arguments(), IndexCommand(), prog="index.py")
    plan = plan_indexing(command.shards, command.output, command.checksums)
    if plan.warning:
        warn(f"warning: {plan.warning}")
    with ray_session(), ProgressReporter("index", "shard") as reporter:
        try:
            index = run_indexing(plan, lambda done, all_: reporter.update(ProgressPoint(done=done, total=all_)))
        except (CorruptDataError, PermanentStorageError) as error:
            raise ConfigError(str(error)) from error  # the shards are the input, and nothing was written
    plan.keep_replaced()
    url = save_index(index, plan.output)
    say_table(
        "Indexed",
        [
            ("samples", f"{index.num_samples:,} in {len(index.shards):,} shards, {index.size_bytes:,} bytes"),
            ("checksums", "one a sample" if index.has_digests else "none; --checksums reads the shards whole and keeps them"),
            ("index", url),
            ("next", f"python jobs/train.py PRESET --data {url} --run-dir URL"),
        ],
    )
    return OK


if __name__ == "__main__":
    run_job(main)
