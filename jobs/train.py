"""Train a generative model: python jobs/train.py PRESET --data URL --run-dir URL [flags]."""

import contextlib

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline.errors import PermissionDenied
from pipeline.plans.commands import parse_train
from pipeline.plans.flags import arguments
from pipeline.plans.output_folder import summary_url
from pipeline.plans.train_plan import TrainPlan, plan_training
from pipeline.runtime.console import say_table, warn, write_summary
from pipeline.runtime.job import FAILED, OK, run_job
from pipeline.runtime.leftovers import clear_training_run
from pipeline.runtime.lock import sole_job
from pipeline.runtime.session import ray_session
from pipeline.runtime.train_run import finished_step, run_training


def main() -> int:
    """Plans, trains and reports; returns the exit code."""
    command = parse_train(arguments())
    summary = summary_url(command.summary)
    plan = plan_training(command.job)
    for warning in plan.warnings():
        warn(f"warning: {warning}")
    if command.dry_run:
        say_table("Plan of the training job", plan.describe())
        return OK
    with contextlib.ExitStack() as held:
        try:
            fence = held.enter_context(sole_job(plan.config.run_dir, unguarded="warn"))
        except PermissionDenied:
            if (done := finished_step(plan)) is None:
                raise
            return _already_done(plan, done)  # nothing is to be written: the folder may be read-only
        if (done := finished_step(plan)) is not None:
            return _already_done(plan, done)
        clear_training_run(plan.config.run_dir)  # of writers of earlier jobs that were killed
        say_table("Training", plan.describe())
        with ray_session():
            outcome = run_training(plan, fence)
    say_table(
        "Trained" if outcome.finished else "Stopped; the same command continues",
        [
            ("step", f"{outcome.step:,} of {plan.config.steps:,}"),
            ("images trained", f"{outcome.images:,} at {outcome.trained_per_s:,.0f}/s"),
            ("images streamed", f"{outcome.streamed_per_s:,.0f}/s, trainers waited {outcome.wait_share:.1%} of the time"),
            ("checkpoint", outcome.checkpoint),
        ],
    )
    write_summary(summary, outcome)
    return OK if outcome.finished else FAILED


def _already_done(plan: TrainPlan, step: int) -> int:
    say_table("Already done", [("step", f"{step:,}"), ("run", plan.config.run_dir)])
    return OK


if __name__ == "__main__":
    run_job(main)
