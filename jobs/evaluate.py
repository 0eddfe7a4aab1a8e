"""Bits per dimension of a checkpoint on images: python jobs/evaluate.py --checkpoint URL --data URL [flags]."""

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline.plans.evaluate_plan import EvaluateConfig, plan_evaluation
from pipeline.plans.flags import arguments, parse_flags
from pipeline.plans.output_folder import summary_url
from pipeline.runtime.console import say_table, write_summary
from pipeline.runtime.evaluate_run import run_evaluation
from pipeline.runtime.job import OK, run_job
from pipeline.telemetry import ProgressPoint, ProgressReporter


def main() -> int:
    """Evaluates and reports; returns the exit code."""
    config = parse_flags(EvaluateConfig, arguments(), EvaluateConfig(), prog="evaluate.py")
    summary = summary_url(config.summary)
    plan = plan_evaluation(config)
    images = f"{sum(plan.rows):,} of {plan.index.num_samples:,} images, {plan.model.family_name}, seed {config.seed}"
    say_table("Evaluating", [("checkpoint", f"{plan.checkpoint} ({plan.digest[:12]})"), ("data", images)])
    with ProgressReporter("evaluate", "image") as reporter:
        found = run_evaluation(plan, lambda done, total: reporter.update(ProgressPoint(done=done, total=total)))
    terms = [(f"  {n}", f"{bits:.4f} +- {found.terms_standard_error[n]:.4f}") for n, bits in found.terms.items()]
    say_table("Evaluated", [("bits/dim", f"{found.mean:.4f} +- {found.standard_error:.4f} (standard error)"), *terms])
    write_summary(summary, found)
    return OK


if __name__ == "__main__":
    run_job(main)
