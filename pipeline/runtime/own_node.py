"""The node that the driver is on: without it a job has no actors, and gets none."""

import contextlib
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import worker

from pipeline.errors import NoAnswer
from pipeline.runtime.console import fail

LOST = "Ray ended on the node that this job runs on (its raylet was killed, or did not answer); the same command continues"
_CONNECT_TIMEOUT_S = 5.0


def check_own_node() -> None:
    """Asks whether the node that the driver is on still lives.

    Raises:
        NoAnswer: The cluster has given the node up.
    """
    own = ray.get_runtime_context().get_node_id()
    if any(node["NodeID"] == own and not node["Alive"] for node in ray.nodes()):
        raise NoAnswer(LOST)


@contextlib.contextmanager
def own_node_watched() -> Iterator[None]:
    """Says at once when the node's raylet ends in the block.

    Ray may end the driver as soon as it misses the node's object store, before anything else could tell why; the job
    itself ends when it comes to ask for the node, which may be sooner or later.
    """
    raylet = _raylet()
    if raylet is None:
        yield
        return
    ended, end = os.pipe()

    def look() -> None:
        poll = select.poll()
        for descriptor in (raylet, ended):
            poll.register(descriptor, select.POLLIN | select.POLLHUP)
        if {descriptor for descriptor, _ in poll.poll()} == {raylet}:
            fail(LOST, early=True)

    watch = threading.Thread(target=look, name="own-node", daemon=True)
    watch.start()
    try:
        yield
    finally:
        os.close(end)
        watch.join()
        os.close(ended)
        os.close(raylet)


def _raylet() -> int | None:
    """A descriptor that can be read from once the raylet has ended; None where the system has no such thing."""
    node: Any = worker._global_node
    if node is None or not hasattr(os, "pidfd_open"):
        return None
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_CONNECT_TIMEOUT_S)
            line.connect(node.raylet_socket_name)
            pid, _, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return os.pidfd_open(pid)
    except OSError:  # no such process can be seen from here: another container's
        return None
