"""Generate samples in bulk: python jobs/generate.py --checkpoint URL --output URL --num-samples N [flags]."""

import contextlib
import functools
from collections.abc import Callable

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline.errors import ClusterError, ConfigError, PermissionDenied, SwissrollError
from pipeline.plans.commands import parse_generate
from pipeline.plans.flags import arguments
from pipeline.plans.generate_plan import GeneratePlan
from pipeline.plans.generate_plans import Unplanned, plan_all
from pipeline.plans.generate_sweep import dated, one_output_each
from pipeline.plans.output_folder import summary_url
from pipeline.runtime.cluster_check import check_cluster
from pipeline.runtime.console import say, say_table, warn, write_summary
from pipeline.runtime.generate_run import (
    GenerateOutcome,
    claim_output,
    is_done,
    nothing_made,
    run_generation,
)
from pipeline.runtime.job import FAILED, OK, run_job
from pipeline.runtime.leftovers import clear_sample_set
from pipeline.runtime.lock import sole_job
from pipeline.runtime.session import ray_session
from pipeline.runtime.sweep import make_all
from pipeline.samples.mending import set_damaged_aside


def main() -> int:
    """Plans, generates and reports; returns the exit code."""
    command = parse_generate(arguments())
    summary = summary_url(command.summary and dated("--summary", command.summary, command.job.date))
    plans = plan_all(one_output_each(command.job))
    for plan in plans:
        if isinstance(plan, Unplanned):
            warn(f"failed: {plan.output}: {plan.error}")
        elif command.dry_run:
            say_table("Plan of the generation job", plan.describe())
    if command.dry_run:
        return FAILED if any(isinstance(plan, Unplanned) for plan in plans) else OK
    with contextlib.ExitStack() as session:

        @functools.cache
        def start_ray() -> None:
            session.enter_context(ray_session())
            check_cluster(command.job)

        if len(plans) == 1 and isinstance(plans[0], GeneratePlan):
            outcomes, error = [_generate(plans[0], start_ray)], None
        else:
            outcomes, error = make_all(plans, lambda plan: _generate(plan, start_ray))
        if not isinstance(error, ClusterError) or any(outcome.made for outcome in outcomes):  # else a command that was refused
            try:
                write_summary(summary, outcomes[0] if len(plans) == 1 else outcomes)
            except SwissrollError as unwritten:
                if error is None:
                    raise
                warn(f"no summary: {unwritten}")
        if error is not None:
            raise error  # in here: a Ray that is lost is not to be shut down
    return OK if all(outcome.finished for outcome in outcomes) else FAILED


def _generate(plan: GeneratePlan, start_ray: Callable[[], None]) -> GenerateOutcome:
    """One output. Ray is started by the first that needs it, once for all, and before the output is claimed: a command that
    the cluster refuses leaves no claim behind that the corrected one would be refused for."""
    if is_done(plan):  # without the lock: who holds it, or was killed on another host with it, is not waited for
        return _already_done(plan)
    with contextlib.ExitStack() as held:
        try:
            fence = held.enter_context(sole_job(plan.config.output, unguarded="warn" if plan.config.sole_writer else "refuse"))
        except (PermissionDenied, ConfigError) as error:  # the folder is read-only, or another job's
            if not plan.is_published:
                raise
            warn(f"warning: {plan.config.output} is complete, and what it lacks beside its samples was not mended: {error}")
            return _already_done(plan)
        clear_sample_set(plan.config.output)  # of writers of earlier jobs that were killed
        for line in set_damaged_aside(plan.config.output):  # what such a writer had put and not committed
            say(f"warning: {line}, as it was damaged before it was committed")
        if plan.open_parts:
            start_ray()
        if fence is not None:
            fence.check()  # Ray may take minutes to start, and this job may have slept
        plan = claim_output(plan)
        if not plan.open_parts:
            return _already_done(plan)
        start_ray()  # where the plan had no open part and parts were taken away since
        say_table("Generating", plan.describe())
        outcome = run_generation(plan, fence)
        clear_sample_set(plan.config.output)  # of this job's own workers that died
    failed = f"{len(outcome.given_up)} parts failed, all others are there; the same command tries them again"
    stopped = failed if outcome.given_up else "Stopped; the same command continues"
    for rows, reason in outcome.given_up.items():
        say(f"failed: rows {rows}: {reason}")
    say_table(
        "Generated" if outcome.finished else stopped,
        [
            ("samples", f"{outcome.rows:,} of {plan.config.num_samples:,}, {outcome.made:,} by this job"),
            ("rate", f"{outcome.generated_per_s:,.0f} images/s"),
            ("output", plan.config.output),
            ("next", f"python jobs/verify.py {plan.config.output}"),
        ],
    )
    return outcome


def _already_done(plan: GeneratePlan) -> GenerateOutcome:
    say_table("Already done", [("samples", f"{plan.config.num_samples:,}"), ("output", plan.config.output)])
    return nothing_made(plan)


if __name__ == "__main__":
    run_job(main)
