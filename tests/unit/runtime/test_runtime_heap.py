"""A process that keeps what it frees takes no new pages from the kernel at its next step, in whichever thread that runs."""

import ctypes
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pipeline.runtime.heap import keep_freed_memory

ROUNDS = 4
PR_SET_THP_DISABLE = 41


def faults_a_step() -> float:
    """Page faults of a step that takes and frees 60 tensors of 4 MB, 24 alive at a time, in two threads by turns."""

    def step() -> None:
        alive: list[torch.Tensor] = []
        for _ in range(60):
            alive.append(torch.ones(1 << 20))
            del alive[:-24]

    threads = [ThreadPoolExecutor(1) for _ in range(2)]
    for place in range(4):  # until each has what it needs
        threads[place % 2].submit(step).result()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for place in range(ROUNDS):
        threads[place % 2].submit(step).result()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / ROUNDS


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc's allocator")
def test_steps_after_the_first_take_no_new_pages() -> None:
    program = "import test_runtime_heap as t; {}; print(t.faults_a_step())"
    paths = f"import sys; sys.path[:0] = {sys.path!r}; sys.path.insert(0, {__file__.rpartition('/')[0]!r}); "
    # Else a kernel may give 2 MB at a time.
    paths += f"import ctypes; ctypes.CDLL(None).prctl({PR_SET_THP_DISABLE}, 1, 0, 0, 0); "

    def faults(first: str) -> float:
        command = [sys.executable, "-c", paths + program.format(first)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)

    assert faults("pass") > 1000  # the allocator's own ways, or this test proves nothing
    assert faults("assert t.keep_freed_memory()") < 10


def test_a_library_without_the_settings_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runtime.heap.ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
