"""Jobs that are killed or stopped at work: the same command again ends with the bytes of a job that nothing happened to."""

import signal
from pathlib import Path

import pytest
from conftest import GENERATE, PART_ROWS, ROWS, STEPS, TRAIN
from job_runs import SET, Place, checkpoint_steps, commits, content, trained_weights

TRAIN_VAE = ("digits-hvae", *TRAIN[1:])
FREQUENT = ("--checkpoint-every-s", 0.2, "--keep-checkpoints", 1000)


def killed_whole(place: Place, script: str, *args: object, run: Path) -> None:
    """A training whose processes are all killed after its first checkpoint, and the same command again."""
    job = place.start(script, *args)
    job.until(lambda: checkpoint_steps(run), "the first checkpoint")
    job.kill_all()
    reached = checkpoint_steps(run)[-1]
    assert 0 < reached < STEPS
    again = place.run(script, *args)
    assert again.code == 0, again
    assert checkpoint_steps(run)[-1] == STEPS


def test_training_killed_whole(alone: Place, shards: Path, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ("train.py", *TRAIN, *FREQUENT, "--data", shards, "--run-dir", run)
    killed_whole(alone, *command, run=run)
    assert trained_weights(run, STEPS) == trained_weights(trained, STEPS)
    # A finished run is found finished without Ray, and nothing is touched.
    before = content(run, "checkpoints")
    once_more = alone.run(*command)
    assert once_more.code == 0, once_more
    assert "Already done" in once_more.out
    assert content(run, "checkpoints") == before


def test_training_of_a_vae_killed_whole(alone: Place, shards: Path, tmp_path: Path) -> None:
    """One with several latent layers, whose weights in the loss still rise when it is killed: they go by the step."""
    undisturbed, run = tmp_path / "undisturbed", tmp_path / "run"
    train = ("train.py", *TRAIN_VAE, "--data", shards)
    ended = alone.run(*train, "--run-dir", undisturbed)
    assert ended.code == 0, ended
    killed_whole(alone, *train, *FREQUENT, "--run-dir", run, run=run)
    assert trained_weights(run, STEPS) == trained_weights(undisturbed, STEPS)


def test_a_loader_and_a_trainer_killed(alone: Place, shards: Path, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = alone.start("train.py", *TRAIN, *FREQUENT, "--data", shards, "--run-dir", run)
    job.until(lambda: checkpoint_steps(run), "the first checkpoint")
    job.kill_worker("Loader")
    job.kill_worker("RayTrainWorker")
    ended = job.wait()
    assert ended.code == 0, ended
    assert "restarting from the last checkpoint" in ended.err
    assert trained_weights(run, STEPS) == trained_weights(trained, STEPS)


def test_training_asked_to_stop(alone: Place, shards: Path, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ("train.py", *TRAIN, "--data", shards, "--run-dir", run, "--checkpoint-every-s", 1000)
    job = alone.start(*command)
    job.until(lambda: "train  step" in job.out(), "the first steps")
    job.signal_group(signal.SIGTERM)  # which a Ray of the job's own must not hear: the job is to stop with its help
    ended = job.wait()
    assert ended.code == 1, ended
    assert "Stopped; the same command continues" in ended.out
    (reached,) = checkpoint_steps(run)
    assert 0 < reached < STEPS
    again = alone.run(*command)
    assert again.code == 0, again
    assert trained_weights(run, STEPS) == trained_weights(trained, STEPS)


@pytest.mark.parametrize("kind", ["training", "generation"])
def test_a_job_whose_ray_is_lost(alone: Place, shards: Path, trained: Path, tmp_path: Path, kind: str) -> None:
    """It ends and says so: who started it can start it again."""
    if kind == "training":
        job = alone.start("train.py", *TRAIN, *FREQUENT, "--steps", 100_000, "--data", shards, "--run-dir", tmp_path / "run")
        job.until(lambda: checkpoint_steps(tmp_path / "run"), "the first checkpoint")
    else:
        output, many = tmp_path / "samples", ("--num-samples", 1_000_000)
        job = alone.start("generate.py", *GENERATE, *many, "--checkpoint", trained, "--output", output)
        job.until(lambda: commits(output), "the first part")
    job.kill_raylet()
    ended = job.wait()
    assert ended.code == 1, ended
    assert any(line.startswith("failed: Ray ended on the node") for line in ended.err.splitlines()), ended  # Ray says more
    assert "Traceback" not in ended.err, ended


def test_generation_killed_whole(alone: Place, trained: Path, generated: Path, tmp_path: Path) -> None:
    output = tmp_path / "samples"
    command = ("generate.py", *GENERATE, "--checkpoint", trained, "--output", output)
    job = alone.start(*command, "--num-workers", 1)
    job.until(lambda: commits(output), "the first part")
    job.kill_worker("Generator")
    job.until(lambda: len(commits(output)) >= 4, "parts of the generator that was started again")
    job.kill_all()
    reached = len(commits(output))
    assert reached < ROWS / PART_ROWS
    again = alone.run(*command, "--num-workers", 2)
    assert again.code == 0, again
    assert content(output, *SET) == content(generated, *SET)
    once_more = alone.run(*command)
    assert once_more.code == 0, once_more
    assert "Already done" in once_more.out
