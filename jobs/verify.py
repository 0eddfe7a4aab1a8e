"""Check a sample set from storage alone: python jobs/verify.py URL [--repair]."""

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline import storage
from pipeline.errors import ConfigError, PermanentStorageError
from pipeline.plans.flags import arguments
from pipeline.runtime.console import say
from pipeline.runtime.job import FAILED, OK, run_job
from pipeline.runtime.lock import sole_job
from pipeline.samples import VerifyReport, verify
from pipeline.telemetry import ProgressPoint, ProgressReporter

USAGE = "usage: verify.py URL [--no-images] [--repair], URL being the folder of a sample set"
HELP = f"""{USAGE}

Exit code 0: finished and undamaged; 1: unfinished or damaged; 2: no sample set there.

--no-images compares all bytes with their digests, and decodes no image: much faster for large sets.
--repair makes broken parts again from the checkpoint that the set was made from, and puts them in place if they have the
digests that were committed; it mends the output's copy of the checkpoint from the
original, run.json, the ledger, the manifest, the index of shards, the contact sheet and a card that is missing or no text, and
moves a damaged origin.json, files that belong to no part and what is in the place of a file to quarantine/."""


def main() -> int:
    """Verifies, repairs if asked to, and reports; returns 0 for a finished set without damage, else 1."""
    given = arguments()
    if {"-h", "--help"} & set(given):
        say(HELP)
        return OK
    urls = [argument for argument in given if argument not in ("--repair", "--no-images")]
    images = "--no-images" not in given
    if len(urls) != 1 or urls[0].startswith("-"):
        raise ConfigError(f"got {' '.join(given) or 'no arguments'}; {USAGE}")
    report = _verified(urls[0], images)
    if not report.problems or "--repair" not in given:
        say(report.describe())
        return OK if report.ok else FAILED
    for problem in report.problems:
        say(f"problem: {problem}")
    from pipeline.generation.repair import repair

    with sole_job(report.url, unguarded="warn") as fence, ProgressReporter("repair", "part") as reporter:
        mended = repair(report, lambda done, total: reporter.update(ProgressPoint(done=done, total=total)), fence)
    for line in mended.done:
        say(f"repaired: {line}")
    for line in mended.failed:
        say(f"not repaired: {line}")
    report = _verified(report.url, images)
    say(report.describe())
    return OK if report.ok else FAILED


def _verified(url: str, images: bool) -> VerifyReport:
    with ProgressReporter("verify", "row") as reporter:
        try:
            report = verify(
                url, lambda done, total: reporter.update(ProgressPoint(done=done, total=total)), decode_images=images
            )
        except PermanentStorageError as error:
            raise ConfigError(str(error)) from error
    if not storage.exists(storage.join(report.url, "checkpoint")):
        return report
    from pipeline.generation.repair import with_kept_checkpoint  # loads torch, which processes that look at parts do not need

    return with_kept_checkpoint(report)


if __name__ == "__main__":
    run_job(main)
