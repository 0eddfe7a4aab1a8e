"""The hub: one named actor a job, on the driver's node, that adds up the workers' numbers, serves them and passes on "stop"."""

import uuid
from dataclasses import dataclass
from typing import cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.runtime.asking import HUB, asked
from pipeline.runtime.session import NAMESPACE
from pipeline.telemetry import Exporter, HubState, JobKind, Report, SeriesKey, Tally, metrics_of
from pipeline.telemetry.declarations import ALL_METRICS

START_TIMEOUT_S = 120.0
_BY_NAME = {metric.name: metric for metric in ALL_METRICS}


@dataclass(frozen=True, slots=True)
class HubView:
    """What the driver sees of a job in progress."""

    values: dict[str, float]
    """Every series by its text, see `HubState.snapshot`."""
    messages: list[str]
    """Texts from workers that the driver has not seen yet."""


class Hub:
    """State of a running job that outlives its workers.

    Args:
        job: Which job's metrics are served.
    """

    def __init__(self, job: JobKind) -> None:
        self._state = HubState(metrics_of(job))
        self._exporter = Exporter(self._state)
        self._messages: list[str] = []
        self._stop_requested = False
        self._last_step_allowed = -1

    def serve(self, port: int, strict: bool) -> str:
        """Starts serving and returns the address that Prometheus scrapes.

        Args:
            port: Port to serve on.
            strict: Whether no other port will do.

        Raises:
            ConfigError: The port, or all that were tried, are taken.
        """
        return f"http://{ray.util.get_node_ip_address()}:{self._exporter.serve(port, strict)}/metrics"

    def new_attempt(self, worker: str) -> int:
        """Numbers a worker's life that begins."""
        return self._state.new_attempt(worker)

    def report(self, report: Report) -> None:
        """Takes in a worker's counts."""
        self._state.report(report)

    def commit(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        """Sets a number that comes from committed state."""
        self._state.set_committed(_BY_NAME[name], value, **(labels or {}))

    def say(self, text: str) -> None:
        """Passes a line from a worker on to the driver."""
        self._messages.append(text)

    def view(self) -> HubView:
        """Returns all numbers and the lines said since the last call."""
        said, self._messages = self._messages, []
        return HubView(self._state.snapshot(), said)

    def request_stop(self) -> None:
        """Makes all trainers stop before the same step, the first that none of them has been allowed to start."""
        self._stop_requested = True

    def may_start(self, step: int) -> bool:
        """Returns whether a trainer may start a step; the answer is the same for all trainers."""
        if self._stop_requested:
            return step <= self._last_step_allowed
        self._last_step_allowed = max(self._last_step_allowed, step)
        return True


def new_tally(hub: ActorHandle, worker: str) -> Tally:
    """Returns the counts of a worker's life that begins here; waits for the hub, which numbers it.

    Args:
        hub: The job's hub.
        worker: The worker's place in the job, the same after a restart.

    Raises:
        NoAnswer: The hub is stuck or out of reach.
    """
    return Tally(worker, cast(int, asked(hub.new_attempt.remote(worker), HUB)))


@dataclass(frozen=True, slots=True)
class HubAddress:
    """How actors that Ray may restart find the hub.

    By name: a handle among an actor's constructor arguments lives in the object store, and the restart fails once it is gone.
    """

    name: str
    """Name of the hub's actor, unique to the job."""

    def connect(self) -> ActorHandle:
        """Returns the hub's handle.

        Raises:
            ValueError: The hub is gone, as it is when the job has ended.
        """
        return ray.get_actor(self.name, namespace=NAMESPACE)


@dataclass(frozen=True, slots=True)
class StartedHub:
    """A hub that serves."""

    handle: ActorHandle
    address: HubAddress
    metrics_url: str
    """What Prometheus scrapes."""


def start_hub(job: JobKind, port: int | None, usual_port: int) -> StartedHub:
    """Starts the hub on the driver's node and returns it once it serves.

    Args:
        job: Which job's metrics are served.
        port: The port asked for; None: the usual one or one of the next.
        usual_port: The port of such jobs.

    Raises:
        ConfigError: The port is taken.
        NoAnswer: It does not come up.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    address = HubAddress(f"hub-{uuid.uuid4().hex}")
    options = ray.remote(Hub).options(name=address.name, namespace=NAMESPACE, num_cpus=0, scheduling_strategy=here)
    hub = cast(ActorHandle, options.remote(job))
    try:
        url = cast(str, asked(hub.serve.remote(usual_port if port is None else port, port is not None), HUB, START_TIMEOUT_S))
    except RayTaskError as error:
        raise error.cause from error
    return StartedHub(hub, address, url)


def value_of(values: dict[str, float], key: SeriesKey, default: float = 0.0) -> float:
    """Returns one number of a `HubView`."""
    return values.get(str(key), default)
