"""SIGTERM as a request: the driver notes it, the job saves what it has and ends on its own.

Where there is nothing to save, as in jobs other than training and generation and before these begin, it ends the job as the
keyboard does: what is held is let go, processes end, one line is said.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

TOGETHER_S = 0.5
"""Signals within so long of each other are one: `timeout` sends its to the job and then to the group that the job is in."""


class Terminated(KeyboardInterrupt):
    """SIGTERM outside of `stop_on_sigterm`; nothing but a job's own end catches it."""


class StopRequest:
    """Whether the job was asked to stop."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.has_hearer = True
        """Whether somebody is at work who would save and stop; where nobody is, SIGTERM does what it did before the block."""

    def set(self) -> None:
        """Asks the job to stop."""
        self._event.set()

    def is_set(self) -> bool:
        """Returns whether the job was asked to stop."""
        return self._event.is_set()


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM raises `Terminated` in the block; a later one ends the process at once, whatever it is clearing up.

    It changes nothing where SIGTERM is ignored, and in other threads than the main one, which gets all signals.
    """

    told_s: list[float] = []

    def end(number: int, frame: FrameType | None) -> None:
        if not told_s:
            told_s.append(time.monotonic())
            raise Terminated
        if time.monotonic() - told_s[0] > TOGETHER_S:
            _pass_on(signal.SIG_DFL)

    previous = signal.getsignal(signal.SIGTERM)
    if previous is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt as stop:
        if told_s and not isinstance(stop, Terminated):  # all that Ray lets through of what is raised while it waits
            raise Terminated from stop
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def stop_on_sigterm() -> Iterator[StopRequest]:
    """Yields a request that SIGTERM sets; a later SIGTERM, and the first where the request has no hearer, does what it did
    before the block."""
    request = StopRequest()
    told_s: list[float] = []

    def note(number: int, frame: FrameType | None) -> None:
        if not told_s:
            told_s.append(time.monotonic())
            if request.has_hearer or previous is signal.SIG_IGN:
                request.set()
            else:
                _pass_on(previous)
        elif time.monotonic() - told_s[0] > TOGETHER_S:
            _pass_on(previous)

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, previous)


def _pass_on(to: Any) -> None:
    """Leaves this SIGTERM and all later ones to another handler."""
    signal.signal(signal.SIGTERM, to)
    os.kill(os.getpid(), signal.SIGTERM)
