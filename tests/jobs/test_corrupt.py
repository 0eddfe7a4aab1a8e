"""Damaged samples in a real job: replaced, listed and counted; over the budget the job stops and says so."""

import io
import json
import re
import shutil
import tarfile
from pathlib import Path

from conftest import STEPS, TRAIN
from job_runs import Ended, JobHere, Place, content

LISTED = "quarantine.jsonl"


def damaged(shards: Path, folder: Path, every: int) -> tuple[Path, set[str]]:
    """A copy of the shards, indexed by nobody, in which one of `every` images is cut; and the keys of those."""
    folder.mkdir()
    keys: set[str] = set()
    for shard in sorted(shards.glob("*.tar")):
        with tarfile.open(shard) as source, tarfile.open(folder / shard.name, "w") as target:
            for member in source:
                data = source.extractfile(member).read()  # pyright: ignore[reportOptionalMemberAccess]
                key, _, field = member.name.partition(".")
                if field == "png" and int(key) % every == every - 1:
                    data = data[:60]
                    keys.add(key)
                info = tarfile.TarInfo(member.name)
                info.size = len(data)
                target.addfile(info, io.BytesIO(data))
    return folder, keys


def train(place: Place, data: Path, run: Path, *flags: object) -> Ended:
    return place.run("train.py", *TRAIN, "--data", data, "--run-dir", run, "--metrics-port", 0, *flags)


def test_damage_is_replaced_alike_by_any_number_of_loaders(alone: Place, shards: Path, tmp_path: Path):
    data, keys = damaged(shards, tmp_path / "data", every=300)
    within = ("--stream.max-corrupt-share", 0.01)
    one = train(alone, data, tmp_path / "one", *within)
    three = train(alone, data, tmp_path / "three", *within, "--num-loaders", 3)
    assert (one.code, three.code) == (0, 0), (one, three)
    weights = [content(tmp_path / run / "checkpoints" / f"step-{STEPS:09d}", "unet") for run in ("one", "three")]
    assert weights[0] == weights[1]
    for run in ("one", "three"):
        listed = [json.loads(line) for line in (tmp_path / run / LISTED).read_text().splitlines()]
        assert sorted(entry["key"] for entry in listed) == sorted(keys)
        for entry in listed:
            header = Path(entry["uri"]).read_bytes()[entry["offset"] : entry["offset"] + 100]
            assert header.startswith(entry["key"].encode())
            assert "PNG" in entry["reason"]
    assert len(re.findall("warning: replaced sample", three.err)) == len(keys)


def test_over_the_budget_the_job_stops_in_one_line_and_goes_on_when_allowed(
    alone: Place, job_here: JobHere, shards: Path, tmp_path: Path
):
    data, keys = damaged(shards, tmp_path / "data", every=100)
    run = tmp_path / "run"
    stopped = train(alone, data, run, "--stream.max-corrupt-share", 0.002)
    assert stopped.code == 1, stopped
    errors = [line for line in stopped.err.splitlines() if not line.startswith("warning: replaced")]
    assert len(errors) == 1, stopped
    assert re.match(r"failed: 4 samples cannot be decoded, at most 3 may be .*quarantine\.jsonl", errors[0]), errors
    again = job_here("train.py", *TRAIN, "--data", data, "--run-dir", run, "--stream.max-corrupt-share", 0.002)
    assert again.code == 2, again
    assert again.error_line().startswith("error: 4 samples cannot be decoded")
    allowed = train(alone, data, run, "--stream.max-corrupt-share", 0.02)
    assert allowed.code == 0, allowed
    assert len((run / LISTED).read_text().splitlines()) == len(keys)
    shutil.rmtree(run)
