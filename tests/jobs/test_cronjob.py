"""The script of cluster/schedules/cronjob.yaml on a real cluster: its pod may die, fail, or find the job done or stopped."""

import shlex
from pathlib import Path

import yaml
from conftest import BY_ONE, GENERATE, PART_ROWS, ROWS, Cluster
from job_runs import ROOT, SET, Job, Place, commits, content
from ray.job_submission import JobSubmissionClient


class Pods:
    """The pods that the Job of one night makes, one after another."""

    def __init__(self, cluster: Cluster, name: str, checkpoint: Path, folder: Path, *flags: object) -> None:
        document = yaml.safe_load((ROOT / "cluster" / "schedules" / "cronjob.yaml").read_text())
        (container,) = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        (script,) = container["args"]
        for blank, filled in (
            ("s3://your-bucket/runs/mnist@latest", checkpoint),
            ("s3://your-bucket/samples", folder),
            ("--num-samples 100000", shlex.join(map(str, (*GENERATE, *BY_ONE, *flags)))),
        ):
            assert script.count(blank) == 1
            script = script.replace(blank, str(filled))
        self._command = (*container["command"], script)
        env = {name: value for name, value in cluster.place.env.items() if name != "RAY_ADDRESS"}
        self._place = Place(env={**env, "JOB_NAME": name, "DATE": "", "RAY_API_SERVER_ADDRESS": cluster.jobs_url})
        self._client = JobSubmissionClient(cluster.jobs_url)
        self._name = name

    def start(self) -> Job:
        """The next pod."""
        return self._place.start_command(*self._command)

    def submitted(self) -> dict[str, str]:
        """The Ray jobs of this Job and how they are."""
        found = {job.submission_id: job.status.value for job in self._client.list_jobs() if job.submission_id}
        return {name: status for name, status in sorted(found.items()) if name.startswith(self._name)}

    def stop(self, submission_id: str) -> None:
        """What `ray job stop` does."""
        self._client.stop_job(submission_id)


def test_a_pod_that_died_left_its_job_to_the_next(cluster: Cluster, trained: Path, generated: Path, tmp_path: Path) -> None:
    output, name = tmp_path / "2025-12-02", "nightly-29410680"
    pods = Pods(cluster, name, trained, tmp_path)
    pod = pods.start()
    pod.until(pods.submitted, "a Ray job")
    pod.kill_all()
    ended = pods.start().wait()
    assert ended.code == 0, ended
    assert f"{ROWS:,} of {ROWS:,}" in ended.out  # it followed
    assert content(output, *SET) == content(generated, *SET)
    assert pods.submitted() == {f"{name}-0": "SUCCEEDED"}
    # A pod that died after the job was done.
    assert pods.start().wait().code == 0
    assert pods.submitted() == {f"{name}-0": "SUCCEEDED"}


def test_a_job_that_failed_is_submitted_anew(cluster: Cluster, trained: Path, generated: Path, tmp_path: Path) -> None:
    output, name = tmp_path / "2025-12-03", "nightly-29412120"
    foreign = output / "data" / f"part-{2 * PART_ROWS:012d}.parquet"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"no part of this set")
    pods = Pods(cluster, name, trained, tmp_path)
    failed = pods.start().wait()
    assert failed.code == 1, failed
    assert pods.submitted() == {f"{name}-0": "FAILED"}
    foreign.unlink()
    again = pods.start().wait()
    assert again.code == 0, again
    assert pods.submitted() == {f"{name}-0": "FAILED", f"{name}-1": "SUCCEEDED"}
    assert content(output, *SET) == content(generated, *SET)


def test_a_job_that_somebody_stopped_stays_stopped(cluster: Cluster, trained: Path, tmp_path: Path) -> None:
    output, name = tmp_path / "2025-12-04", "nightly-29413560"
    pods = Pods(cluster, name, trained, tmp_path, "--num-samples", 1_000_000)  # so that it is not done before it is stopped
    pod = pods.start()
    pod.until(lambda: commits(output), "the first part")
    pods.stop(f"{name}-0")
    assert pod.wait().code == 3
    assert pods.start().wait().code == 3
    assert pods.submitted() == {f"{name}-0": "STOPPED"}
