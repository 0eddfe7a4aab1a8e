"""How a job script ends: one line for the person who has to act, and an exit code for the machine."""

import os
import signal
import sys
from collections.abc import Callable

from pipeline.errors import ConfigError, SwissrollError
from pipeline.runtime.console import fail, warn
from pipeline.runtime.output import speak_unheard
from pipeline.runtime.stopping import Terminated, ended_by_sigterm

OK, FAILED, USER_ERROR = 0, 1, 2
TERMINATED = 128 + signal.SIGTERM
"""What shells say of a process that SIGTERM has ended; nobody is to take it for a failure of the job's own."""


def run_job(main: Callable[[], int]) -> None:
    """Runs a job's main function and exits: 0 done, 2 the user's mistake, 1 failure, 143 ended by SIGTERM, nothing saved.

    Errors of the project are printed as one line. Any other exception is a defect and keeps its traceback. Output that nobody
    reads (`| head`) or that cannot be written (a full disk) changes nothing: the job does its work, and ends with its code.
    """
    speak_unheard()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a shell's background job, which is to go on
        signal.signal(signal.SIGINT, signal.default_int_handler)  # in place of the one of `keyboard`
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # likewise: what comes after the work finds nothing left to say
    try:
        with ended_by_sigterm():
            code = main()
    except ConfigError as error:
        warn(f"error: {error}")
        code = USER_ERROR
    except SwissrollError as error:
        fail(str(error))
        code = FAILED
    except KeyboardInterrupt as stop:
        by, code = ("SIGTERM", TERMINATED) if isinstance(stop, Terminated) else ("the keyboard", FAILED)
        warn(f"stopped by {by}; the same command continues")
        sys.stdout.flush()
        os._exit(code)  # Python's own end crashes now and then when threads of Ray were cut short
    sys.exit(code)
