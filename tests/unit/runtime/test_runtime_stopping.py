"""SIGTERM is a request, one job holds a folder, and all trainers stop before the same step."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.runtime import stopping
from pipeline.runtime.hub import Hub
from pipeline.runtime.lock import sole_job
from pipeline.runtime.stopping import stop_on_sigterm


def test_sigterm_sets_the_request_and_a_later_one_acts_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, note)
    try:
        with stop_on_sigterm() as stop:
            assert not stop.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.is_set()
            os.kill(os.getpid(), signal.SIGTERM)  # of the same sender, which signals the job and then its group
            assert received == []
            monkeypatch.setattr(stopping, "TOGETHER_S", 0.0)
            os.kill(os.getpid(), signal.SIGTERM)
            assert received == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is note
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_that_nobody_would_hear_acts_as_before() -> None:
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, note)
    try:
        with stop_on_sigterm() as stop:
            stop.has_hearer = False
            os.kill(os.getpid(), signal.SIGTERM)
            assert received == [signal.SIGTERM]
            assert not stop.is_set()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with stop_on_sigterm() as stop:
            stop.has_hearer = False
            os.kill(os.getpid(), signal.SIGTERM)  # whoever started the job wants it not to end
            assert stop.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_handler_goes_also_when_the_job_fails() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError, match="inside"), stop_on_sigterm():
        raise RuntimeError("inside")
    assert signal.getsignal(signal.SIGTERM) is before


@given(data=st.data(), ranks=st.integers(1, 5), steps=st.integers(0, 12), together=st.booleans())
def test_all_ranks_stop_before_the_same_step(data: st.DataObject, ranks: int, steps: int, together: bool) -> None:
    """Whenever the request comes and in whatever order ranks ask: also in step, as ranks that average gradients must."""
    hub = Hub("train")
    done, stopped = [0] * ranks, [False] * ranks
    asks_until_stop = data.draw(st.integers(0, ranks * steps + 1))
    asked = 0
    while not all(stopped):
        if asked == asks_until_stop:
            hub.request_stop()
        # A rank that waits for the others' gradients has not asked for the step after.
        able = [r for r in range(ranks) if not stopped[r] and not (together and done[r] > min(done))]
        rank = data.draw(st.sampled_from(able))
        if done[rank] < steps and hub.may_start(done[rank]):
            done[rank] += 1
        else:
            stopped[rank] = True
        asked += 1
    assert len(set(done)) == 1
    if asks_until_stop == 0:
        assert done[0] == 0
    if asks_until_stop > ranks * steps:
        assert done[0] == steps


def test_a_group_restarted_after_the_request_goes_to_the_step_already_allowed() -> None:
    """Ranks of the new group begin at an older checkpoint; the promise that the old group was given still holds."""
    hub = Hub("train")
    assert all(hub.may_start(step) for step in range(6))
    hub.request_stop()
    assert [hub.may_start(step) for step in (2, 5, 6)] == [True, True, False]


HOLD = """
import sys
from pipeline.runtime.lock import sole_job

with sole_job(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "finished"])
def test_a_folder_is_held_by_one_process_until_it_ends_however_it_ends(tmp_path: Path, killed: bool) -> None:
    folder = str(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        try:
            assert other.stdout.readline() == "held\n"
            with (
                pytest.raises(ConfigError, match=rf"another job is at work in {folder}; wait for it or stop it"),
                sole_job(folder),
            ):
                pytest.fail("two jobs in one folder")
        finally:
            if killed:
                other.kill()
            else:
                other.stdin.write("\n")
                other.stdin.flush()
            other.wait()
    with sole_job(folder):
        pass
    with sole_job(folder), sole_job(str(tmp_path / "other")):
        pass


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system as NFS without its lock service."""

    def refuse(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_a_file_system_without_locks_is_refused_unless_the_user_answers_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "run")
    with pytest.raises(ConfigError, match=rf"{folder} has no locks .*--sole-writer"), sole_job(folder):
        pytest.fail("held what cannot be held")
    with sole_job(folder, unguarded="warn"):
        pass
    assert f"{folder} has no locks" in "".join(capsys.readouterr())
