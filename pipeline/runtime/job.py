"""How a job script ends: one line for the person who has to act, and an exit code for the machine."""

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
    sys.stdout.flush()
    sys.exit(code)
