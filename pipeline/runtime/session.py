"""Connecting a job to Ray: the cluster it was submitted to, the one that runs here, or one of its own."""

import contextlib
import logging
import os
from collections.abc import Iterator

import ray

from pipeline.errors import ConfigError

NAMESPACE = "swissroll"
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def ray_session() -> Iterator[str]:
    """Connects to Ray for the length of a job and yields the cluster's address.

    RAY_ADDRESS decides where it is set, as it is in submitted jobs; without it a cluster started on this machine is joined,
    and where there is none a local Ray is started that ends with the job.

    Raises:
        ConfigError: RAY_ADDRESS names a cluster that does not answer.
    """
    # Without an explicit mode, a local start may create a token that later keeps workers of a cluster from joining.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    named = os.environ.get("RAY_ADDRESS")
    try:
        connected = _connect(None)
    except ConnectionError as error:
        if named:
            raise ConfigError(f"no Ray cluster answers at RAY_ADDRESS={named}; start it or unset RAY_ADDRESS") from error
        _log.warning("the Ray cluster last started here does not answer any more; starting a local Ray")
        connected = _connect("local")
    try:
        yield connected
    finally:
        ray.shutdown()


def _connect(address: str | None) -> str:
    ray.init(
        address=address,
        namespace=NAMESPACE,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    return ray.get_runtime_context().gcs_address


def total(resource: str) -> float:
    """Returns how much of a resource the cluster's living nodes have together."""
    return float(ray.cluster_resources().get(resource, 0.0))


def fitting_cpus(wanted: list[tuple[int, float]], share: bool) -> float:
    """Returns the factor by which CPU reservations are multiplied so that all processes can be placed at once.

    Args:
        wanted: (number of processes, CPUs each) for every kind of process.
        share: Whether to shrink reservations; otherwise the factor is 1 and Ray waits for the cluster to grow.
    """
    demand = sum(count * cpus for count, cpus in wanted)
    available = total("CPU")
    if not share or demand <= available or available <= 0:
        return 1.0
    # Ray counts in ten-thousandths; a little less than the exact share keeps the sum within what is there.
    return int(available / demand * 10_000 - 1) / 10_000
