"""The samples of a step, listed and drawn, are those that the run was given."""

from pathlib import Path

import numpy as np
from conftest import BATCH_SIZE, TRAIN
from job_runs import JobHere
from PIL import Image

from pipeline.plans.presets import preset
from pipeline.shards import open_data, read_samples
from pipeline.stream import make_order, read_all


def table(text: str) -> list[list[str]]:
    lines = text.splitlines()
    assert lines[0].split("\t") == ["row", "epoch", "sample", "label", "key", "shard", "offset"]
    return [line.split("\t") for line in lines[1:]]


def test_a_step_is_listed_and_drawn(job_here: JobHere, shards: Path, tmp_path: Path):
    step = 40
    listed = job_here("which.py", *TRAIN, "--data", shards, "--step", step, "--picture", tmp_path / "p.png", "--columns", 8)
    assert listed.code == 0, listed
    rows = table(listed.out)
    index = open_data(str(shards))
    config = preset("digits").stream
    expected = make_order(index, config, seed=0).rows(step - 1)
    assert len(rows) == BATCH_SIZE == config.batch_size
    assert [int(row[2]) for row in rows] == expected.sample.tolist()
    assert {int(row[1]) for row in rows} == set(expected.epoch.tolist()) == {1}
    whole = read_all(index, size=8, channels=1)
    assert [int(row[3]) for row in rows] == whole.labels[expected.sample].tolist()
    raw = read_samples(index, int(expected.shard[5]), int(expected.member[5]), int(expected.member[5]) + 1)[0]
    assert rows[5][4:] == [raw.key, raw.uri, str(raw.offset)]
    with Image.open(tmp_path / "p.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    first = whole.images[expected.sample[0], :, :, 0]
    assert any(np.array_equal(pixels[top : top + 16 : 2, left : left + 16 : 2], first) for top in range(9) for left in range(9))


def test_a_run_folder_names_its_own_data(job_here: JobHere, shards: Path, trained: Path):
    by_run = job_here("which.py", "--run-dir", trained, "--step", 7)
    by_flags = job_here("which.py", *TRAIN, "--data", shards, "--step", 7)
    assert by_run.code == by_flags.code == 0, by_run
    assert by_run.out == by_flags.out


def test_mistakes_are_named(job_here: JobHere, shards: Path, tmp_path: Path):
    assert "step must be at least 1" in job_here("which.py", *TRAIN, "--data", shards, "--step", 0).error_line()
    assert "the preset is missing" in job_here("which.py", "--step", 1).error_line()
    assert "no configuration file" in job_here("which.py", "--run-dir", tmp_path, "--step", 1).error_line()
    assert "--data is missing" in job_here("which.py", "digits", "--step", 1).error_line()
