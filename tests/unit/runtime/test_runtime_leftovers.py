"""What a job clears away in its folder, and what it leaves to jobs in folders below."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.runtime.leftovers import clear_sample_set, clear_training_run

PARTIAL = ".part.0123456789abcdef.partial"
OF_A_SET = ["", "data", "commits", "goals", "quarantine", "quarantine/data"]
OF_A_RUN = ["", "checkpoints", "checkpoints/step-000000010/unet", "snapshots"]


def half_written(folder: Path, names: list[str]) -> set[Path]:
    files = {folder / name / PARTIAL for name in names}
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
    return files


@pytest.mark.parametrize(("clear", "names"), [(clear_sample_set, OF_A_SET), (clear_training_run, OF_A_RUN)])
def test_a_job_clears_its_own_folders_and_none_of_a_job_below(
    tmp_path: Path, clear: Callable[[str], None], names: list[str]
) -> None:
    ours = half_written(tmp_path, names)
    theirs = half_written(tmp_path / "2026-01-31", OF_A_SET + OF_A_RUN)
    (tmp_path / "manifest.json").write_bytes(b"{}")
    clear(str(tmp_path))
    assert {file for file in ours | theirs if file.exists()} == theirs
    assert (tmp_path / "manifest.json").exists()
    clear(str(tmp_path / "nowhere"))
    clear("memory://leftovers/set")
