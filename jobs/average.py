"""Make a checkpoint with an average of weights of any length: python jobs/average.py --run URL --length 0.12 --output URL."""

from dataclasses import dataclass

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline.checkpoints import inspect_checkpoint, reconstruct, resolve, save_model, snapshot_steps
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError
from pipeline.models import Model
from pipeline.plans.flags import arguments, parse_flags
from pipeline.plans.output_folder import output_url
from pipeline.runtime.console import say_table
from pipeline.runtime.job import OK, run_job
from pipeline.storage import absolute_url


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageCommand:
    """Reconstruct an average of weights that was not kept in training, from the run's snapshots."""

    run: str = ""
    """Run folder; trained with --snapshot-every-steps."""
    length: float = 0.1
    """Standard deviation of what is averaged over, as a share of the steps done; above 0, below 0.288."""
    step: int | None = None
    """Steps that the average ends at, one of the snapshots'; unset: the last."""
    output: str = ""
    """Folder or URL of the new checkpoint, which can be sampled from."""


def main() -> int:
    """Reconstructs and reports; returns the exit code."""
    command = parse_flags(AverageCommand, arguments(), AverageCommand(), prog="average.py")
    if not command.run:
        raise ConfigError("--run is missing; expected a path or URL")
    run, output = absolute_url(command.run), output_url("--output", command.output)
    try:
        steps = snapshot_steps(run)
        step = command.step if command.step is not None else (steps[-1] if steps else 0)
        model = Model(inspect_checkpoint(resolve(run)).config)
        made = reconstruct(run, command.length, step)
    except (CorruptDataError, PermanentStorageError) as error:
        raise ConfigError(str(error)) from error
    save_model(output, step=step, model=model, averages={command.length: made.weights})
    say_table(
        "Averaged",
        [
            ("length", f"{command.length:g} at step {step:,}"),
            ("snapshots", f"{made.snapshots} stored averages; the profile is missed by {made.missed:.2%}"),
            ("checkpoint", output),
            ("next", f"python jobs/generate.py --checkpoint {output} --output URL --num-samples N"),
        ],
    )
    return OK


if __name__ == "__main__":
    run_job(main)
