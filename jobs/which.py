"""Which samples a step saw: python jobs/which.py --run-dir URL --step K [--picture FILE], or PRESET --data URL instead."""

from dataclasses import dataclass
from typing import Annotated

import tyro

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.pictures import image_grid
from pipeline.plans.commands import starting_config
from pipeline.plans.flags import arguments, parse_flags
from pipeline.plans.output_folder import output_url
from pipeline.plans.train_config import TrainConfig
from pipeline.plans.which_plan import seen_step
from pipeline.runtime.console import say, warn
from pipeline.runtime.job import OK, run_job


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichCommand:
    """List, and draw, the samples that a step of a run was given. Nothing is trained, nothing is started."""

    job: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """The run: --run-dir of one that exists, or a preset and flags as for train.py."""
    config: str | None = None
    """JSON file with the run's configuration; instead of a preset."""
    step: int = 1
    """The step, as progress and loss curve count: the first is 1."""
    picture: str | None = None
    """PNG file to draw the batch into, as the model saw it: cut, scaled and mirrored."""
    columns: int = 16
    """Images a line of the picture."""


def main() -> int:
    """Lists and draws; returns the exit code."""
    default, rest = starting_config(arguments(), "which.py", from_run=True)
    command = parse_flags(WhichCommand, rest, WhichCommand(job=default), prog="which.py")
    picture_url = None if command.picture is None else output_url("--picture", command.picture, is_file=True)
    if picture_url is not None and storage.is_folder(picture_url):
        raise ConfigError(f"--picture: got {picture_url}, which is a folder; expected a file")
    seen = seen_step(command.job, command.step, columns=command.columns)
    say("row\tepoch\tsample\tlabel\tkey\tshard\toffset")
    for row in seen.rows:
        say(f"{row.row}\t{row.epoch}\t{row.sample}\t{row.label}\t{row.key}\t{row.uri}\t{row.offset}")
    for damaged in seen.damaged:
        warn(f"another sample stood in for {damaged.key!r}: {damaged.reason} ({damaged.uri} at byte {damaged.offset})")
    if picture_url is not None:
        picture = image_grid(seen.batch.images, columns=command.columns, scale=2)
        storage.put_replace(picture_url, picture)
    return OK


if __name__ == "__main__":
    run_job(main)
