"""Check a sample set from storage alone: python jobs/verify.py URL [--repair]."""

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline import storage
from pipeline.errors import ConfigError, PermanentStorageError
from pipeline.plans.flags import arguments
from pipeline.plans.verify_command import HELP, parse_verify
from pipeline.runtime.console import say
from pipeline.runtime.job import FAILED, OK, run_job
from pipeline.runtime.lock import sole_job
from pipeline.samples import VerifyReport, verify
from pipeline.telemetry import ProgressPoint, ProgressReporter


def main() -> int:
    """Verifies, repairs if asked to, and reports; returns 0 for a finished set without damage, else 1."""
    given = arguments()
    if {"-h", "--help"} & set(given):
        say(HELP)
        return OK
    command = parse_verify(given)
    report = _verified(command.url, command.images)
    if not report.problems and (command.checkpoint or command.conditions):
        from pipeline.generation.named_sources import same_checkpoint, same_conditions  # loads torch, as below

        # A wrong one is a mistake in the command also where nothing is broken; where something is, run.json may be it.
        same_checkpoint(command.url, command.checkpoint)
        same_conditions(command.url, command.conditions)
    if not report.problems or not command.repair:
        say(report.describe())
        return OK if report.ok else FAILED
    for problem in report.problems:
        say(f"problem: {problem}")
    from pipeline.generation.repair import repair

    with sole_job(report.url, unguarded="warn") as fence, ProgressReporter("repair", "part") as reporter:
        mended = repair(
            report,
            lambda done, total: reporter.update(ProgressPoint(done=done, total=total)),
            fence,
            checkpoint=command.checkpoint,
            conditions=command.conditions,
        )
    for line in mended.done:
        say(f"repaired: {line}")
    for line in mended.failed:
        say(f"not repaired: {line}")
    report = _verified(report.url, command.images)
    say(report.describe())
    return OK if report.ok else FAILED


def _verified(url: str, images: bool) -> VerifyReport:
    try:
        with ProgressReporter("verify", "row") as reporter:
            report = verify(
                url, lambda done, total: reporter.update(ProgressPoint(done=done, total=total)), decode_images=images
            )
        if not storage.exists(storage.join(report.url, "checkpoint")):
            return report
        # It loads torch, which processes that look at parts do not need.
        from pipeline.generation.repair import with_kept_checkpoint

        return with_kept_checkpoint(report)
    except PermanentStorageError as error:
        raise ConfigError(str(error)) from error


if __name__ == "__main__":
    run_job(main)
