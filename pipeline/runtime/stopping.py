"""SIGTERM as a request: the driver notes it, the job saves what it has and ends on its own.

Where there is nothing to save, as in jobs other than training and generation and before these begin, it ends the job as the
keyboard does: what is held is let go, processes end, one line is said.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM outside of `stop_on_sigterm`; nothing but a job's own end catches it."""


class StopRequest:
    """Whether the job was asked to stop."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Asks the job to stop."""
        self._event.set()

    def is_set(self) -> bool:
        """Returns whether the job was asked to stop."""
        return self._event.is_set()


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM raises `Terminated` in the block; a second one ends the process at once, whatever it is clearing up.

    It changes nothing where SIGTERM is ignored, and in other threads than the main one, which gets all signals.
    """

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    previous = signal.getsignal(signal.SIGTERM)
    if previous is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def stop_on_sigterm() -> Iterator[StopRequest]:
    """Yields a request that SIGTERM sets; a second SIGTERM ends the process as usual."""
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        request.set()
        signal.signal(signal.SIGTERM, previous)

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, previous)
