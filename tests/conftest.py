"""What holds for every test."""

import os
import signal
import time
from types import SimpleNamespace

import pytest
from hypothesis import settings

# One thread a process, set before anything loads OpenMP: on a machine that is busy with other things, a second thread that
# is not scheduled makes every small tensor operation of the first one wait, and the tests take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background has them ignore SIGINT, and so all that they start, to which some send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test may fail because the machine is busy: how long one example takes is not what properties are about.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been slept; the clock goes on as if they had been."""
    from pipeline.storage import retry
    from pipeline.storage.pace import Paces

    slept: list[float] = []
    real = time.monotonic

    def clock() -> float:
        return real() + sum(slept)

    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=clock, sleep=slept.append))
    monkeypatch.setattr(retry, "paces", Paces(clock))  # and none of what earlier tests were throttled to
    return slept
