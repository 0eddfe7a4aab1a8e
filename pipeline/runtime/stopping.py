"""SIGTERM as a request: the driver notes it, the job saves what it has and ends on its own."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


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
