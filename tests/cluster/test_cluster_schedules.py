"""The scheduled runs: what they start is run through bash with stand-ins for `ray` and `python`, and parsed as the job does."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kuberay_schema import METADATA, rayjob_validator

from pipeline.plans.commands import parse_generate
from pipeline.plans.generate_sweep import one_output_each

SCHEDULES = Path(__file__).parents[2] / "cluster" / "schedules"
CLUSTER = """#!/bin/bash
printf '%s\\n' "ray $(printf '%q ' "$@")" >> "$SAID"
case "$1 $2" in
  "job submit") touch "$SAID.submitted" ;;
  "job status") [ -e "$SAID.submitted" ] && printf "INFO\\033[32mJob '%s' succeeded\\033[39m\\n'%s' failed\\n" "$3" "$3" ;;
esac
"""
"""A `ray` that takes one job, which succeeds, though its log speaks of failure."""
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


def run_pod(said: Path, name: str, given_date: str) -> "subprocess.CompletedProcess[str]":
    """The container of the CronJob's pod, of a Job with a name."""
    (container,) = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (given,) = [one for one in container["env"] if one["name"] == "DATE"]
    assert given["value"] == ""
    (said.parent / "ray").write_text(CLUSTER)
    environment = {**os.environ, "JOB_NAME": name, "DATE": given_date}
    return subprocess.run(
        [*container["command"], *container["args"]], check=False, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("name", "given_date", "date"),
    [
        ("swissroll-nightly-29410680", "", "2025-12-02"),
        ("x-26297280", "", "2020-01-01"),
        ("swissroll-again", "2026-01-31", "2026-01-31"),
        ("swissroll-nightly-29410680", "2026-01-31", "2026-01-31"),
    ],
)
def test_the_cronjob_takes_its_date_from_the_jobs_name_unless_one_is_given(
    said: Path, name: str, given_date: str, date: str
) -> None:
    assert run_pod(said, name, given_date).returncode == 0
    (line,) = [line for line in said.read_text().splitlines() if line.startswith("ray job submit")]
    submit = f"ray job submit --no-wait --submission-id {name}-0 --working-dir . -- python jobs/generate.py"
    assert line.startswith(submit)
    assert job_of(line).output == f"s3://your-bucket/samples/{date}"


@pytest.mark.parametrize(
    ("name", "given_date"),
    [
        ("swissroll-nightly-retry", ""),
        ("backfill-20260131", ""),
        ("x-0", ""),
        ("x-08888888", ""),  # which bash alone takes for octal
        ("x-294106800", ""),
        ("again", "20260131"),
        ("again", "yesterday"),
    ],
)
def test_a_job_made_by_hand_without_a_date_is_refused_for_good(said: Path, name: str, given_date: str) -> None:
    ended = run_pod(said, name, given_date)
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"got DATE '{given_date}' and the Job's name {name}, expected a DATE such as 2026-01-31")
    assert not said.exists()


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
    assert pod["restartPolicy"] == "Never"  # which a podFailurePolicy needs
    (rule,) = spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    container_name = pod["containers"][0]["name"]
    assert rule == {
        "action": "FailJob",
        "onExitCodes": {"containerName": container_name, "operator": "In", "values": [3]},
    }
    (container,) = pod["containers"]
    (named,) = [one for one in container["env"] if one["name"] == "JOB_NAME"]
    assert named["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"


def document_of(file: Path, date: str = "2026-01-31") -> dict[str, Any]:
    return yaml.safe_load(file.read_text().replace("DATE", date))


def rayjobs() -> dict[str, dict[str, Any]]:
    """The RayJobs that come of the scheduled resources, by file."""
    cron = document_of(SCHEDULES / "raycronjob.yaml")
    made: dict[str, Any] = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": f"{cron['metadata']['name']}-x7k2p"},
    }
    return {
        "rayjob.yaml": document_of(SCHEDULES / "rayjob.yaml"),
        "raycronjob.yaml": made | {"spec": cron["spec"]["jobTemplate"]},
    }


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycronjob.yaml"])
def test_the_scheduled_rayjob_is_one_that_kuberay_knows_on_the_cluster_of_the_plain_one(name: str) -> None:
    document = rayjobs()[name]
    assert [f"{error.json_path}: {error.message}" for error in rayjob_validator().iter_errors(document)] == []
    assert document["spec"]["backoffLimit"] > 0
    plain = yaml.safe_load((SCHEDULES.parent / "kuberay" / "generate-job.yaml").read_text())["spec"]["rayClusterSpec"]
    plain["headGroupSpec"]["template"]["metadata"]["labels"] = {"swissroll-job": "generate-nightly"}
    assert document["spec"]["rayClusterSpec"] == plain


def test_the_raycronjob_has_no_field_that_kuberay_does_not_know() -> None:
    document = document_of(SCHEDULES / "raycronjob.yaml")
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayCronJob")
    assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(document["spec"]) <= {"schedule", "timeZone", "suspend", "jobTemplate"}
    assert set(document["metadata"]) <= set(METADATA["properties"])


def test_the_rayjob_has_the_date_that_it_was_made_with() -> None:
    document = rayjobs()["rayjob.yaml"]
    assert document["metadata"]["name"] == "swissroll-nightly-2026-01-31"
    job = job_of(document["spec"]["entrypoint"])
    assert (job.date, job.output) == ("2026-01-31", "s3://your-bucket/samples/2026-01-31")


@pytest.mark.parametrize(
    ("now", "date"),
    [
        ("2026-01-31 02:00:05", "2026-01-31"),  # on time
        ("2026-01-31 23:59:00", "2026-01-31"),  # started late, or tried again
        ("2026-02-01 01:29:00", "2026-01-31"),  # the last moment within the deadline
        ("2026-02-01 02:00:05", "2026-02-01"),
    ],
)
def test_the_raycronjob_has_one_date_from_one_schedule_to_the_next(said: Path, now: str, date: str) -> None:
    spec = document_of(SCHEDULES / "raycronjob.yaml")["spec"]
    assert spec["schedule"].startswith("0 2 ")
    assert spec["jobTemplate"]["activeDeadlineSeconds"] < 24 * 3600
    # A clock that stands still: `2 hours ago` of the command becomes two hours before `now`.
    real = subprocess.run(["/bin/bash", "-c", "command -v date"], capture_output=True, text=True, check=True).stdout.strip()
    stand_in = said.parent / "date"
    stand_in.write_text(f'#!/bin/bash\n[ "$3" = "2 hours ago" ] || exit 1\nexec {real} -u -d "{now} UTC 2 hours ago" "$4"\n')
    stand_in.chmod(0o755)
    subprocess.run(["bash", "-c", spec["jobTemplate"]["entrypoint"]], check=True)
    (line,) = said.read_text().splitlines()
    assert job_of(line).output == f"s3://your-bucket/samples/{date}"
