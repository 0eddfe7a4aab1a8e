"""One command, several checkpoints: an output each, named by a logical date, with keys carried through; trained on again."""

import json
import shutil
import signal
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import BY_ONE, GENERATE, PART_ROWS, STEPS, free_port
from job_runs import JobHere, Place, commits

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
        "--metrics-port", free_port(),
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
