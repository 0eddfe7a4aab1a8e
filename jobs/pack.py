"""Pack images into WebDataset shards: python jobs/pack.py --images FOLDER --output URL [--shard-size 500]."""

from dataclasses import dataclass

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline.errors import ConfigError, PermanentStorageError
from pipeline.plans.flags import arguments, parse_flags
from pipeline.plans.output_folder import output_url
from pipeline.runtime.console import say_table
from pipeline.runtime.job import OK, run_job
from pipeline.shards import open_source, pack
from pipeline.telemetry import ProgressPoint, ProgressReporter


@dataclass(frozen=True, slots=True, kw_only=True)
class PackCommand:
    """Pack images into WebDataset shards with an index. The same command again continues, or finds everything done."""

    images: str = ""
    """A folder whose subfolders are classes, a flat folder, or packaged digits: mnist, mnist-train, mnist-heldout, digits."""
    output: str = ""
    """Folder or URL for the shards."""
    shard_size: int = 500
    """Images a shard."""
    seed: int = 0
    """Seed of the order in which images are packed."""


def main() -> int:
    """Packs and reports; returns the exit code."""
    command = parse_flags(PackCommand, arguments(), PackCommand(), prog="pack.py")
    if not command.images:
        raise ConfigError("--images is missing; expected a path or URL")
    output = output_url("--output", command.output)
    try:
        source = open_source(command.images, seed=command.seed)
    except PermanentStorageError as error:
        raise ConfigError(str(error)) from error  # nothing was written, and the images are the input
    with ProgressReporter("pack", "image") as reporter:
        index = pack(
            source,
            output,
            shard_size=command.shard_size,
            progress=lambda done, total: reporter.update(ProgressPoint(done=done, total=total)),
        )
    kinds = f" ({source.ignored_kinds})" if source.ignored else ""
    say_table(
        "Packed",
        [
            ("images", f"{index.num_samples:,} in {len(index.shards):,} shards, {index.size_bytes:,} bytes"),
            ("classes", ", ".join(index.meta.class_names) or "none"),
            ("files passed over", f"{len(source.ignored):,}{kinds}"),
            ("data", output),
        ],
    )
    return OK


if __name__ == "__main__":
    run_job(main)
