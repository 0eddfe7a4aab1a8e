"""Generate samples in bulk: python jobs/generate.py --checkpoint URL --output URL --num-samples N [flags]."""

from pipeline.plans.commands import parse_generate
from pipeline.plans.flags import arguments
from pipeline.plans.generate_plan import plan_generation
from pipeline.runtime.console import say_table, write_summary
from pipeline.runtime.generate_run import claim_output, run_generation
from pipeline.runtime.job import FAILED, OK, run_job
from pipeline.runtime.lock import sole_job
from pipeline.runtime.session import ray_session


def main() -> int:
    """Plans, generates and reports; returns the exit code."""
    command = parse_generate(arguments())
    plan = plan_generation(command.job)
    if command.dry_run:
        say_table("Plan of the generation job", plan.describe())
        return OK
    with sole_job(plan.config.output):
        plan = claim_output(plan)
        if not plan.open_parts:
            say_table("Already done", [("samples", f"{plan.config.num_samples:,}"), ("output", plan.config.output)])
            return OK
        say_table("Generating", plan.describe())
        with ray_session():
            outcome = run_generation(plan)
    say_table(
        "Generated" if outcome.finished else "Stopped; the same command continues",
        [
            ("samples", f"{outcome.rows:,} of {plan.config.num_samples:,}, {outcome.made:,} by this job"),
            ("rate", f"{outcome.generated_per_s:,.0f} images/s"),
            ("output", plan.config.output),
            ("next", f"python jobs/verify.py {plan.config.output}"),
        ],
    )
    write_summary(command.summary, outcome)
    return OK if outcome.finished else FAILED


if __name__ == "__main__":
    run_job(main)
