"""Connecting a job to Ray: the cluster it was submitted to, the one that runs here, or one of its own."""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import services

from pipeline.errors import ClusterError, NoAnswer
from pipeline.runtime.own_node import own_node_watched

NAMESPACE = "swissroll"
# Ray itself asks a cluster that is gone for more than ten minutes before it gives up.
CONNECT_TIMEOUT_S = 10.0
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def ray_session() -> Iterator[str]:
    """Connects to Ray for the length of a job and yields the cluster's address.

    RAY_ADDRESS decides where it is set, as it is in submitted jobs; without it a cluster started on this machine is joined,
    and where there is none a local Ray is started that ends with the job.

    Raises:
        ClusterError: RAY_ADDRESS names a cluster that does not answer, or is no such address.
    """
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    sigterm = signal.getsignal(signal.SIGTERM)
    connected, is_lost = connect(), False
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, sigterm)  # Ray takes it for itself, and would end the job without a word
    try:
        with own_node_watched():
            yield connected
    except NoAnswer:
        is_lost = True
        raise
    finally:
        # Where its node is gone Ray may end the process in here, before the error is told; it also does this at exit.
        if not is_lost:
            ray.shutdown()


def connect() -> str:
    """Connects to Ray as `ray_session` does, until the process ends; returns the cluster's address.

    Raises:
        ClusterError: As `ray_session`.
    """
    # Without an explicit mode, a local start may create a token that later keeps workers of a cluster from joining.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    return _connect(_cluster_to_join())


def _cluster_to_join() -> str | None:
    """The address for `ray.init`, after a look whether anything answers there; None leaves the choice to Ray."""
    named = os.environ.get("RAY_ADDRESS")
    if named and "://" in named:
        raise ClusterError(
            f"got RAY_ADDRESS={named}, expected host:port of a cluster's control service, auto or local; "
            "through http:// jobs are submitted: ray job submit --address ..."
        )
    try:
        address = services.canonicalize_bootstrap_address(None)  # pyright: ignore[reportArgumentType]
    except (ValueError, OSError) as error:
        raise ClusterError(f"got RAY_ADDRESS={named}, expected host:port, auto or local: {error}") from error
    if address is None or _answers(address):
        return None
    if named:
        raise ClusterError(f"no Ray cluster answers at RAY_ADDRESS={named}; start it or unset RAY_ADDRESS")
    _log.warning("the Ray cluster last started here, %s, does not answer any more; starting a local Ray", address)
    return "local"


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


def _connect(address: str | None) -> str:
    with _in_a_group_of_their_own():
        ray.init(
            address=address,
            namespace=NAMESPACE,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    return ray.get_runtime_context().gcs_address


@contextlib.contextmanager
def _in_a_group_of_their_own() -> Iterator[None]:
    """Processes of a Ray that is started in the block are in a process group that is not the job's.

    `timeout`, shells and init systems signal a whole group: the job is to hear that it should stop while its Ray is still
    there to stop with. Ray's processes end with the job all the same, however that ends: the kernel sees to it.
    """

    class Popen(services.ConsolePopen):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs, process_group=0)

    usual = services.ConsolePopen
    services.ConsolePopen = Popen
    try:
        yield
    finally:
        services.ConsolePopen = usual


def total(resource: str) -> float:
    """Returns how much of a resource the cluster's living nodes have together."""
    return float(ray.cluster_resources().get(resource, 0.0))
