"""The keyboard's stop while a script still imports what it needs, which takes seconds: one line and an exit code, too.

Scripts import this module before all others of the project; `run_job` takes over when it starts.
"""

import os
import signal
from multiprocessing import current_process
from types import FrameType
from typing import NoReturn


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    try:
        os.write(2, b"stopped by the keyboard; nothing was started\n")
    finally:
        os._exit(1)


# A shell's background job ignores the keyboard, and is to go on doing so. A process that a job has started imports the job's
# script once more, and is ended by the job.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave if current_process().name == "MainProcess" else signal.SIG_IGN)
