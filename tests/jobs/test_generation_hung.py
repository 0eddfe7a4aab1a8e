"""Workers that hang without dying: they are found out, killed and named, and the run ends as if nothing had happened."""

import contextlib
import http.client
import os
import re
import signal
import urllib.request
from pathlib import Path

from conftest import GENERATE, PART_ROWS, ROWS, free_port
from job_runs import SET, JobHere, Place, commits, content

# So short that ten times the slowest part decides.
SOON = ("--part-timeout-s", 1)
# Whoever commits this part looks at what has its name, and waits for ever, as in a mount whose server is gone.
WAITS_AT = """
import os, time
stat = os.stat
def waiting(path, *args, **kwargs):
    while path == TRAP:
        time.sleep(1)
    return stat(path, *args, **kwargs)
os.stat = waiting
"""


def test_a_worker_that_hangs_is_killed_and_its_parts_are_made_by_others(
    alone: Place, trained: Path, generated: Path, tmp_path: Path
) -> None:
    output = tmp_path / "samples"
    command = ("generate.py", *GENERATE, *SOON, "--checkpoint", trained, "--output", output)
    job = alone.start(*command, "--num-workers", 2)
    job.until(lambda: commits(output), "the first part")
    asleep = job.signal_worker("Generator.make_part", signal.SIGSTOP)  # one that is at a part
    try:
        ended = job.wait()
    finally:
        if is_stopped := Path(f"/proc/{asleep}").exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(asleep, signal.SIGKILL)
    assert ended.code == 0, ended
    said = r"rows \d+ to \d+ failed \(no answer from generator-[01] in \d+ s, expected one in \d+ s: .*\); trying again"
    assert re.search(said, ended.err), ended
    assert not is_stopped, "the worker that hung is still there"
    assert content(output, *SET) == content(generated, *SET)


def scrape(port: int) -> str:
    """What is served; nothing where a busy machine does not answer in time."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()
    except (OSError, http.client.HTTPException):
        return ""


def test_a_part_that_hangs_every_worker_is_given_up_and_the_others_are_made(
    alone: Place, trained: Path, generated: Path, tmp_path: Path, job_here: JobHere
) -> None:
    output = tmp_path / "samples"
    command = ("generate.py", *GENERATE, *SOON, "--checkpoint", trained, "--output", output)
    trap = output / "data" / f"part-{ROWS - PART_ROWS:012d}.parquet"
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(WAITS_AT.replace("TRAP", repr(str(trap))))
    path = [str(tmp_path / "hook"), *filter(None, [os.environ.get("PYTHONPATH")])]
    place = Place(env={**alone.env, "PYTHONPATH": os.pathsep.join(path)})
    port = free_port()
    try:
        job = place.start(*command, "--num-workers", 2, "--max-part-failures", 1, "--metrics-port", port)
        job.until(
            lambda: re.search(r"^swissroll_workers_hung_total [12]\.0$", scrape(port), re.MULTILINE),
            "the count of a worker that hung",
        )
        ended = job.wait()
    finally:
        place.clear()
    assert ended.code == 1, ended
    assert re.search(
        rf"failed: rows {ROWS - PART_ROWS}-{ROWS - 1}: failed 2 times, last: no answer from generator-\d", ended.out
    )
    assert len(commits(output)) == ROWS // PART_ROWS - 1
    again = alone.run(*command)
    assert again.code == 0, again
    assert content(output, *SET) == content(generated, *SET)
    assert job_here("verify.py", output).code == 0
