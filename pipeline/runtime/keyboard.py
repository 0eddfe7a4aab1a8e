"""The keyboard's stop while a script still imports what it needs, which takes seconds: one line and an exit code, too.

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
    try:
        os.write(2, b"stopped by the keyboard; nothing was started\n")
    finally:
        os._exit(1)


def _is_of_a_job() -> bool:
    """Whether this process runs one of the scripts, and does not only import one, as a test may."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    return script is not None and Path(script).resolve().parent == Path(__file__).resolve().parents[2] / "jobs"


# A shell's background job ignores the keyboard, and is to go on doing so. A process that a job has started imports the job's
# script once more, and is ended by the job.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler and threading.current_thread() is threading.main_thread():
    if current_process().name != "MainProcess":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    elif _is_of_a_job():
        signal.signal(signal.SIGINT, _leave)
