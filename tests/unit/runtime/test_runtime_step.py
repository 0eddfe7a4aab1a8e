"""A job script as a step of a longer sequence: its summary comes back, its failure ends the sequence."""

import json
from pathlib import Path

import pytest

from pipeline.errors import SwissrollError
from pipeline.runtime.step import run_step


def test_a_step_that_ends_well_gives_its_summary(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_step("1/1 pack", "pack.py", "--images", "digits", "--output", tmp_path / "shards") == {}
    out = capfd.readouterr().out
    assert out.startswith(f"\n== 1/1 pack ==\n$ python jobs/pack.py --images digits --output {tmp_path}/shards\n")
    assert "1,797 in 4 shards" in out
    assert json.loads((tmp_path / "shards" / "index.json").read_text())


def test_a_step_that_fails_is_named_with_its_code(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SwissrollError, match=r"4/5 verify: jobs/verify\.py ended with exit code 2"):
        run_step("4/5 verify", "verify.py", tmp_path / "gone")
    assert "no sample set" in capfd.readouterr().err
