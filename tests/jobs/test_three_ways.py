"""Pack, train, generate, verify: alone on a machine, on a cluster named by RAY_ADDRESS, submitted to a cluster; all equal."""

from pathlib import Path

from conftest import BY_ONE, GENERATE, ROWS, STEPS, TRAIN, Cluster
from job_runs import SET, Ended, JobHere, Scraped, content, trained_weights


def submit(cluster: Cluster, *command: object) -> Ended:
    """Submits a job from the repository's root, as the README does, and waits for the client."""
    # Without RAY_ADDRESS: the client must find the cluster by the flag alone.
    env = {name: value for name, value in cluster.place.env.items() if name != "RAY_ADDRESS"}
    place = type(cluster.place)(env=env)
    return place.start_command(
        "ray", "job", "submit", "--address", cluster.jobs_url, "--working-dir", ".", "--", *command
    ).wait()  # fmt: skip


def test_alone(training: Scraped, generation: Scraped, job_here: JobHere):
    assert "Trained" in training.ended.out
    assert f"{STEPS:,} of {STEPS:,}" in training.ended.out
    assert f"{ROWS:,} of {ROWS:,}, {ROWS:,} by this job" in generation.ended.out
    verified = job_here("verify.py", generation.folder)
    assert verified.code == 0
    assert f"{ROWS:,} rows" in verified.out
    assert "ok: no gap, no duplicate" in verified.out


def test_on_a_named_cluster(cluster: Cluster, shards: Path, trained: Path, generated: Path, tmp_path: Path):
    run, output = tmp_path / "run", tmp_path / "samples"
    done = cluster.place.run("train.py", *TRAIN, "--data", shards, "--run-dir", run)
    assert done.code == 0, done
    assert trained_weights(run, STEPS) == trained_weights(trained, STEPS)
    done = cluster.place.run("generate.py", *GENERATE, "--checkpoint", run, "--output", output)
    assert done.code == 0, done
    assert content(output, *SET) == content(generated, *SET)


def test_submitted(cluster: Cluster, shards: Path, trained: Path, generated: Path, tmp_path: Path):
    run, output = tmp_path / "run", tmp_path / "samples"
    done = submit(cluster, "python", "jobs/train.py", *TRAIN, "--data", shards, "--run-dir", run)
    assert done.code == 0, done
    assert trained_weights(run, STEPS) == trained_weights(trained, STEPS)
    done = submit(cluster, "python", "jobs/generate.py", *GENERATE, *BY_ONE, "--checkpoint", run, "--output", output)
    assert done.code == 0, done
    assert content(output, *SET) == content(generated, *SET)
    relative = submit(cluster, "python", "jobs/generate.py", *GENERATE, "--checkpoint", run, "--output", "samples")
    assert relative.code == 1
    assert "error: --output is the relative path samples; expected an absolute path" in relative.out + relative.err
