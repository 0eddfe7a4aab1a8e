"""A job script as a step of a longer sequence: its summary comes back, its failure ends the sequence."""

import json
import socket
from pathlib import Path

import pytest

from pipeline.errors import SwissrollError
from pipeline.runtime import step
from pipeline.runtime.step import run_step

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


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


@pytest.mark.skipif(not EPHEMERAL.exists(), reason="nothing tells which ports the kernel gives away")
def test_a_port_is_none_that_the_kernel_gives_to_others_meanwhile() -> None:
    first, last = map(int, EPHEMERAL.read_text().split())
    assert [port for port in (step._free_port() for _ in range(50)) if first <= port <= last] == []


def test_a_port_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", step._free_port()))
        taken.listen()
        both = [taken.getsockname()[1], step._free_port()]
        monkeypatch.setattr(step, "PORTS", both)
        monkeypatch.setattr(step, "PORTS_TRIED", 2)
        assert {step._free_port() for _ in range(10)} == {both[1]}
        monkeypatch.setattr(step, "PORTS", both[:1])
        monkeypatch.setattr(step, "PORTS_TRIED", 1)
        with pytest.raises(SwissrollError, match=rf"none of 1 ports .* --metrics-port {both[0]} cannot be used"):
            step._free_port()
