"""The scheduled runs: what they start is run through bash with stand-ins for `ray` and `python`, and parsed as the job does."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.plans.commands import parse_generate
from pipeline.plans.generate_sweep import one_output_each

SCHEDULES = Path(__file__).parents[2] / "cluster" / "schedules"
STAND_IN = '#!/bin/bash\nprintf "%s\\n" "$(basename "$0") $(printf "%q " "$@")" >> "$SAID"\nexit ${CODE:-0}\n'


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that gets a line for each call of a stand-in."""
    for name in ("ray", "python", "sleep"):
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    return tmp_path / "said"


def job_of(line: str) -> Any:
    """The job that a started command line means."""
    words = shlex.split(line)
    arguments = words[words.index("jobs/generate.py") + 1 :]
    (job,) = one_output_each(parse_generate(arguments).job)
    return job


def test_the_cron_line_retries_with_the_same_date(said: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (SCHEDULES / "crontab").read_text().splitlines()
    (entry,) = [line for line in lines if line.startswith("0 2 * * * ")]
    command = entry.removeprefix("0 2 * * * ").replace("\\%", "%")  # cron takes a bare % for the end of the line
    assert "%" not in entry.replace("\\%", "")
    monkeypatch.setenv("SWISSROLL", str(said.parent))
    monkeypatch.setenv("CODE", "1")
    subprocess.run(["bash", "-c", command], check=False)
    calls = [line for line in said.read_text().splitlines() if line.startswith("python")]
    assert len(calls) == 3
    assert len(set(calls)) == 1
    job = job_of(calls[0])
    assert job.output == f"s3://your-bucket/samples/{job.date}"
    assert job.checkpoint.endswith("@latest")
    said.unlink()
    monkeypatch.setenv("CODE", "0")
    subprocess.run(["bash", "-c", command], check=True)
    assert len(said.read_text().splitlines()) == 1


def cronjob() -> dict[str, Any]:
    return yaml.safe_load((SCHEDULES / "cronjob.yaml").read_text())


@pytest.mark.parametrize(("name", "date"), [("swissroll-nightly-29410680", "2025-12-02"), ("x-0", "1970-01-01")])
def test_the_cronjob_takes_its_date_from_the_jobs_name(said: Path, name: str, date: str) -> None:
    (container,) = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    environment = {**os.environ, "JOB_NAME": name}
    subprocess.run([*container["command"], *container["args"]], check=True, env=environment)
    (line,) = said.read_text().splitlines()
    assert line.startswith("ray job submit --working-dir . -- python jobs/generate.py")
    assert job_of(line).output == f"s3://your-bucket/samples/{date}"


def test_the_cronjob_is_one_that_kubernetes_knows() -> None:
    document = cronjob()
    assert (document["apiVersion"], document["kind"]) == ("batch/v1", "CronJob")
    spec = document["spec"]
    assert spec["concurrencyPolicy"] in ("Allow", "Forbid", "Replace")
    assert set(spec) <= {
        "schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds", "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit", "jobTemplate", "suspend",
    }  # fmt: skip
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    (named,) = [one for one in container["env"] if one["name"] == "JOB_NAME"]
    assert named["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"
