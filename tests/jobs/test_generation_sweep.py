"""One command, several checkpoints: an output each, named by a logical date, with keys carried through; trained on again."""

import fcntl
import json
import shutil
import signal
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import BY_ONE, GENERATE, PART_ROWS, STEPS
from job_runs import JobHere, Place, commits

from pipeline.plans.commands import parse_generate
from pipeline.plans.generate_plan import plan_generation
from pipeline.runtime.generate_run import claim_output

ROWS = 80


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run folder with two checkpoints."""
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    last = run / "checkpoints" / f"step-{STEPS:09d}"
    shutil.copytree(last, run / "checkpoints" / f"step-{STEPS - 1:09d}")
    return run


def test_a_sweep_of_checkpoints_for_a_date_and_conditions_is_trained_on(
    alone: Place, run: Path, tmp_path: Path, job_here: JobHere
) -> None:
    conditions = tmp_path / "2026-01-31.parquet"
    labels = [(3 * row) % 10 for row in range(ROWS)]
    pq.write_table(pa.table({"key": [f"wish {row}" for row in range(ROWS)], "label": labels}), conditions)
    command = (
        "generate.py", "--checkpoint", run / "checkpoints" / "*", "--output", tmp_path / "samples" / "{date}" / "{checkpoint}",
        "--date", "2026-01-31", "--conditions", tmp_path / "{date}.parquet", "--format", "webdataset",
        "--part-rows", PART_ROWS, "--batch-rows", PART_ROWS, "--sampler-steps", 4, *BY_ONE,
        "--summary", tmp_path / "made-{date}.json",
    )  # fmt: skip
    done = alone.run(*command)
    assert done.code == 0, done
    outputs = [tmp_path / "samples" / "2026-01-31" / f"step-{step:09d}" for step in (STEPS - 1, STEPS)]
    for output in outputs:
        assert len(commits(output)) == ROWS // PART_ROWS
        assert job_here("verify.py", output).code == 0
        told = []
        for shard in sorted((output / "data").glob("*.tar")):
            with tarfile.open(shard) as tar:
                told += [json.load(tar.extractfile(name)) for name in tar.getnames() if name.endswith(".json")]  # pyright: ignore[reportArgumentType]
        assert [(one["index"], one["key"], one["label"]) for one in told] == [
            (row, f"wish {row}", label) for row, label in enumerate(labels)
        ]
    again = job_here(*command)
    assert again.code == 0
    assert again.out.count("Already done") == 2
    told = json.loads((tmp_path / "made-2026-01-31.json").read_text())
    assert [(one["output"], one["rows"], one["made"], one["finished"]) for one in told] == [
        (str(output), ROWS, 0, True) for output in outputs
    ]
    trained = alone.run(
        "train.py", "digits", "--steps", 4, "--batch-size", 16, "--data", outputs[0] / "data", "--run-dir", tmp_path / "again",
        "--metrics-port", 0,
    )  # fmt: skip
    assert trained.code == 0, trained
    assert "4 of 4" in trained.out


def test_a_sweep_asked_to_stop_begins_no_further_output(alone: Place, run: Path, tmp_path: Path) -> None:
    flags = ("--checkpoint", run / "checkpoints" / "*", "--output", tmp_path / "{checkpoint}")
    job = alone.start("generate.py", *GENERATE, *BY_ONE, *flags)
    first, second = (tmp_path / f"step-{step:09d}" for step in (STEPS - 1, STEPS))
    job.until(lambda: commits(first), "the first part")
    job.signal(signal.SIGTERM)
    ended = job.wait()
    assert ended.code == 1, ended
    assert ended.out.count("Stopped; the same command continues") == 1
    assert not commits(second)


@pytest.mark.parametrize(
    ("flags", "env", "says"),
    [
        (("--compiled",), {"CXX": "no-such-compiler"}, "got no compiler (no-such-compiler) on the only node"),
        ((), {"RAY_ADDRESS": "127.0.0.1:1"}, "no Ray cluster answers"),
    ],
    ids=["compiler", "cluster"],
)
def test_what_the_cluster_lacks_is_told_before_the_output_is_claimed(
    alone: Place, run: Path, tmp_path: Path, flags: tuple[str, ...], env: dict[str, str], says: str
) -> None:
    output = tmp_path / "out"
    ended = Place(env={**alone.env, **env}).run(
        "generate.py", *GENERATE, *BY_ONE, "--checkpoint", run, "--output", output, *flags
    )
    assert ended.code == 2, ended
    assert says in ended.error_line()
    assert [file.name for file in output.iterdir()] == [".lock"]  # the corrected command may have it


def test_a_sweep_makes_what_can_be_made_and_says_of_the_others_why_not(alone: Place, run: Path, tmp_path: Path) -> None:
    """One output is another job's, one has a damaged checkpoint, one was begun from a checkpoint that is gone by now."""
    checkpoints, last = run / "checkpoints", f"step-{STEPS:09d}"
    gone, damaged, locked = (f"step-{step:09d}" for step in (STEPS - 3, STEPS - 2, STEPS - 1))
    for name in (gone, damaged):
        shutil.copytree(checkpoints / last, checkpoints / name)
    flags = (
        "--output", tmp_path / "{checkpoint}", "--num-samples", ROWS, "--part-rows", PART_ROWS, "--batch-rows", PART_ROWS,
        "--sampler-steps", 2, *BY_ONE, "--summary", tmp_path / "made.json",
    )  # fmt: skip
    line = [str(flag).replace("{checkpoint}", gone) for flag in ("--checkpoint", checkpoints / gone, *flags)]
    claim_output(plan_generation(parse_generate(line).job))  # and killed
    shutil.rmtree(checkpoints / gone)
    (checkpoints / damaged / "checkpoint.json").write_text("{")
    (tmp_path / locked).mkdir()
    with (tmp_path / locked / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = alone.run("generate.py", "--checkpoint", checkpoints / "*", *flags)
    assert ended.code == 1, ended
    failed = [line for line in ended.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    assert f"failed: {tmp_path / damaged}: " in failed[0]
    assert f"failed: {tmp_path / locked}: another job is at work" in failed[1]
    told = json.loads((tmp_path / "made.json").read_text())
    assert [(one["output"], one["rows"], one["made"], one["finished"]) for one in told] == [
        (str(tmp_path / name), rows, rows, bool(rows)) for name, rows in ((gone, ROWS), (damaged, 0), (locked, 0), (last, ROWS))
    ]
    assert [bool(one["error"]) for one in told] == [False, True, True, False]
    for name in (gone, last):
        assert (tmp_path / name / "manifest.json").exists()
    again = alone.run("generate.py", "--checkpoint", checkpoints / locked, *flags)
    assert again.code == 0, again
