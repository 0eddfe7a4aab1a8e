"""A writer killed with SIGKILL at any moment, started again, leaves what an undisturbed one leaves."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from sample_makers import finished_set

from pipeline import storage
from pipeline.samples import SampleSet, verify

# So many parts that a job is still at work when a busy machine lets it be killed.
ROWS, PART_ROWS = 900, 3

RUN = f"""
import sys
from sample_makers import SPEC, part
from pipeline.samples import SampleSet, open_ranges
samples = SampleSet(sys.argv[1])
samples.open(SPEC, num_samples={ROWS})
samples.adopt()
spans = open_ranges({ROWS}, {PART_ROWS}, samples.committed())
ready = [(span, part(span)) for span in spans]  # the kills are to fall on committing
for span, data in ready:
    samples.commit(span.first, data, span.rows)
samples.publish({ROWS})
"""


def content(folder: Path) -> dict[str, bytes]:
    found = storage.list_objects(str(folder), recursive=True)
    return {one.url[len(str(folder)) + 1 :]: storage.read_bytes(one.url) for one in found}


def test_killed_and_resumed_equals_undisturbed(tmp_path: Path):
    finished_set(str(tmp_path / "undisturbed"), ROWS, PART_ROWS)
    folder = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{Path.cwd()}"}
    moments = random.Random(0)
    caught = 0
    rows = 0
    for _ in range(3):
        job = subprocess.Popen([sys.executable, "-c", RUN, str(folder)], env=environment)
        wanted = rows // 3 + moments.randint(0, 8)
        while job.poll() is None and len(storage.list_objects(str(folder / "commits"))) <= wanted:
            time.sleep(moments.uniform(0, 0.002))
        job.send_signal(signal.SIGKILL)
        job.wait()
        report = verify(str(folder))
        assert report.problems == ()
        assert report.rows >= rows, "committed rows were lost"
        rows = report.rows
        caught += not report.finished
    assert caught >= 2, "the jobs ended before they were killed"
    subprocess.run([sys.executable, "-c", RUN, str(folder)], env=environment, check=True)
    assert verify(str(folder)).ok
    assert content(folder) == content(tmp_path / "undisturbed")
    assert SampleSet(str(folder)).adopt() == []
