"""How a job script ends: one line for the person who has to act, and an exit code for the machine."""

import os
import select
import sys
from collections.abc import Callable

from pipeline.errors import ConfigError, SwissrollError
from pipeline.runtime.console import warn

OK, FAILED, USER_ERROR = 0, 1, 2


def run_job(main: Callable[[], int]) -> None:
    """Runs a job's main function and exits: 0 done, 2 the user's mistake, 1 failure.

    Errors of the project are printed as one line. Any other exception is a defect and keeps its traceback.
    """
    try:
        code = main()
    except ConfigError as error:
        warn(f"error: {error}")
        code = USER_ERROR
    except SwissrollError as error:
        warn(f"failed: {error}")
        code = FAILED
    except KeyboardInterrupt:
        warn("stopped by the keyboard; the same command continues")
        code = FAILED
    except BrokenPipeError:
        if not _reader_left():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at exit
        code = FAILED
    sys.stdout.flush()
    sys.exit(code)


def _reader_left() -> bool:
    """Whether standard output is a pipe that nobody reads any more, as after `| head`."""
    look = select.poll()
    look.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in look.poll(0))
