"""A disk that fills up under a job: exit code 1, one line that says so, nothing that looks whole."""

import math
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import GENERATE, STEPS, TRAIN
from job_runs import ROOT, Ended, Place


@pytest.fixture(scope="session")
def small_disks() -> None:
    """Whether this system lets a test mount a small disk of its own."""
    probe = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        subprocess.run(probe, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small disk can be mounted here: {error}")


def on_a_small_disk(place: Place, folder: Path, kib: int, script: str, *args: object) -> tuple[Ended, set[str]]:
    """Runs a job with a disk of `kib` KiB at `folder` that only the job sees; returns its end and the files it left there."""
    folder.mkdir()
    job = shlex.join([sys.executable, str(ROOT / "jobs" / script), *map(str, args)])
    disk = shlex.quote(str(folder))
    shell = f"mount -t tmpfs -o size={kib}k none {disk} && {{ {job}; code=$?; echo; find {disk} -type f; exit $code; }}"
    ended = place.start_command("unshare", "--map-root-user", "--mount", "sh", "-c", shell).wait()
    return ended, {line.removeprefix(f"{folder}/") for line in ended.out.splitlines() if line.startswith(str(folder))}


def check_refused(ended: Ended) -> None:
    assert ended.code == 1, ended
    last = ended.err.splitlines()[-1]
    assert last.startswith("failed: disk full"), ended
    assert "Traceback" not in ended.err + ended.out


@pytest.mark.usefixtures("small_disks")
def test_packing(alone: Place, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    ended, files = on_a_small_disk(alone, disk, 1800, "pack.py", "--images", "digits", "--output", disk / "shards")
    check_refused(ended)
    assert "shards/index.json" not in files
    assert {name for name in files if name.endswith(".tar")} == {"shards/shard-000000.tar"}  # 1.5 MB each: one fits, whole


@pytest.mark.usefixtures("small_disks")
def test_training(alone: Place, shards: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    ended, files = on_a_small_disk(
        alone, disk, 900, "train.py", *TRAIN, "--data", shards, "--run-dir", disk / "run", "--checkpoint-every-s", 0.5
    )
    check_refused(ended)
    assert not [name for name in files if name.endswith("checkpoint.json")]


@pytest.mark.usefixtures("small_disks")
def test_generation(alone: Place, trained: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    checkpoint = trained / "checkpoints" / f"step-{STEPS:09d}"
    copied = [file for file in checkpoint.rglob("*") if file.is_file() and "training" not in file.parts]
    copied_kib = sum(4 * math.ceil(file.stat().st_size / 4096) for file in copied)
    ended, files = on_a_small_disk(
        alone, disk, copied_kib + 64, "generate.py", *GENERATE, "--checkpoint", trained, "--output", disk / "samples"
    )
    check_refused(ended)
    assert "samples/run.json" in files
    assert "samples/manifest.json" not in files
    # Both kinds of name begin with the part's first row.
    parts = {Path(name).name.removeprefix("part-")[:12] for name in files if "/data/" in name}
    committed = {Path(name).name[:12] for name in files if "/commits/" in name}
    assert 0 < len(committed) <= len(parts)
    assert committed <= parts
