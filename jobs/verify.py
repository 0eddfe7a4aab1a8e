"""Check a sample set from storage alone: python jobs/verify.py URL."""

from pipeline.errors import ConfigError, PermanentStorageError
from pipeline.plans.flags import arguments
from pipeline.runtime.console import say
from pipeline.runtime.job import FAILED, OK, run_job
from pipeline.samples import verify
from pipeline.telemetry import ProgressPoint, ProgressReporter

USAGE = "usage: verify.py URL, the folder of a sample set"


def main() -> int:
    """Verifies and reports; returns 0 for a finished set without damage, else 1."""
    given = arguments()
    if {"-h", "--help"} & set(given):
        say(f"{USAGE}\n\nExit code 0: finished and undamaged; 1: unfinished or damaged; 2: no sample set there.")
        return OK
    if len(given) != 1 or given[0].startswith("-"):
        raise ConfigError(f"got {' '.join(given) or 'no arguments'}; {USAGE}")
    with ProgressReporter("verify", "row") as reporter:
        try:
            report = verify(given[0], lambda done, total: reporter.update(ProgressPoint(done=done, total=total)))
        except PermanentStorageError as error:
            raise ConfigError(str(error)) from error
    say(report.describe())
    return OK if report.ok else FAILED


if __name__ == "__main__":
    run_job(main)
