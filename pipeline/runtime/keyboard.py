"""A stop by the keyboard or SIGTERM while a script still imports what it needs, which takes seconds: one line, a code, too.

Scripts import this module before all others of the project; `run_job` takes over when it starts.
"""

import os
import signal
import sys
import threading
from multiprocessing import current_process
from pathlib import Path
from types import FrameType
from typing import NoReturn


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    by, code = ("SIGTERM", 128 + number) if number == signal.SIGTERM else ("the keyboard", 1)
    try:
        os.write(2, f"stopped by {by}; nothing was started\n".encode())
    finally:
        os._exit(code)


def _is_of_a_job() -> bool:
    """Whether this process runs one of the scripts, and does not only import one, as a test may."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    return script is not None and Path(script).resolve().parent == Path(__file__).resolve().parents[2] / "jobs"


# A shell's background job ignores the keyboard, and is to go on doing so. A process that a job has started imports the job's
# script once more, and is ended by the job.
if threading.current_thread() is threading.main_thread():
    is_child = current_process().name != "MainProcess"
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        if is_child:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        elif _is_of_a_job():
            signal.signal(signal.SIGINT, _leave)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and not is_child and _is_of_a_job():
        signal.signal(signal.SIGTERM, _leave)
