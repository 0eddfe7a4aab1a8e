"""The driver's view of a running job: it asks the hub now and then, moves the progress bar and passes stop requests on."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import cast

from ray.actor import ActorHandle
from ray.exceptions import RayError

from pipeline.errors import NoAnswer
from pipeline.runtime.asking import HUB, asked
from pipeline.runtime.console import warn
from pipeline.runtime.hub import HubView
from pipeline.runtime.stopping import StopRequest
from pipeline.telemetry import ProgressPoint, ProgressReporter

POLL_EVERY_S = 0.5


@contextlib.contextmanager
def watched(
    hub: ActorHandle, reporter: ProgressReporter, point: Callable[[HubView], ProgressPoint | None], stop: StopRequest
) -> Iterator[None]:
    """Shows a job's progress while the block runs; workers' messages go to standard error.

    Args:
        hub: The job's hub.
        reporter: Where progress is shown.
        point: Makes a progress point of what the hub knows; None while there is nothing to show.
        stop: Passed on to the hub once it is set.
    """
    done = threading.Event()

    def look() -> None:
        view = cast(HubView, asked(hub.view.remote(), HUB))
        for message in view.messages:
            warn(message)
        progress = point(view)
        if progress is not None:
            reporter.update(progress)

    def follow() -> None:
        told = False
        try:
            while not done.wait(0.1 if stop.is_set() and not told else POLL_EVERY_S):
                if stop.is_set() and not told:
                    asked(hub.request_stop.remote(), HUB)
                    told = True
                look()
        except (RayError, NoAnswer) as error:
            warn(f"warning: progress is not shown any more: {str(error).strip().partition(chr(10))[0]}")

    thread = threading.Thread(target=follow, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with contextlib.suppress(RayError, NoAnswer):  # a job that is done does not fail for its progress bar
            look()
        reporter.close()
