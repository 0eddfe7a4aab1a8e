"""Serving a job's metrics to Prometheus on one port that stays the same."""

import errno
import threading
from socketserver import BaseServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from pipeline.errors import ConfigError

TRAIN_METRICS_PORT = 9464
"""Where a training job serves its metrics unless told otherwise."""

GENERATE_METRICS_PORT = 9474
"""Where a generation job serves its metrics unless told otherwise."""

PORTS_TRIED = 10
"""A second job on the same machine takes the next free of these; Prometheus is set up to look at all of them."""

METRICS_ADDRESS = "0.0.0.0"
"""All interfaces: Prometheus usually scrapes from another machine."""


class Exporter:
    """An HTTP server at `/metrics` for one collector, in a thread of its own; serves once, stops once.

    Only the collector's metrics are served: those of this Python process would describe the wrong process.

    Args:
        collector: Usually a `HubState`.
    """

    def __init__(self, collector: Collector) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        self._server: BaseServer | None = None
        self._thread: threading.Thread | None = None

    def serve(self, preferred_port: int, strict: bool) -> int:
        """Start serving; the port that is served.

        Args:
            preferred_port: 1-65535, or 0 for any free port.
            strict: Whether only this port will do, because it is written down elsewhere; otherwise the next
                `PORTS_TRIED` - 1 ports are tried too.

        Raises:
            ConfigError: Naming the port or ports, if all are taken or may not be used.
        """
        if self._server is not None:
            raise RuntimeError("this exporter serves already")
        if not 0 <= preferred_port <= 65535:
            raise ConfigError(f"got metrics port {preferred_port}, expected 0 to 65535")
        tried = 1 if strict or preferred_port == 0 else PORTS_TRIED
        last_port = min(preferred_port + tried - 1, 65535)
        for port in range(preferred_port, last_port + 1):
            try:
                self._server, self._thread = start_http_server(port, addr=METRICS_ADDRESS, registry=self._registry)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise ConfigError(f"metrics port {port} cannot be used on this machine: {error.strerror}") from error
            return self._server.server_address[1]
        if tried == 1:
            raise ConfigError(f"metrics port {preferred_port} is taken on this machine, expected it to be free; choose another")
        raise ConfigError(f"metrics ports {preferred_port} to {last_port} are all taken on this machine, expected a free one")

    def stop(self) -> None:
        """Stop serving and give the port back; does nothing when nothing is served."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None
