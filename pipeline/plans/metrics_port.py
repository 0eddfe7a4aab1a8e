"""Whether the metrics port that a user asked for can be had, before anything is started."""

import socket

from pipeline.errors import ConfigError
from pipeline.telemetry.exporter import METRICS_ADDRESS


def check_metrics_port(port: int | None) -> None:
    """Refuses a port that something else serves on; metrics are served on the machine that the job's driver runs on.

    Args:
        port: 0 to 65535; None or 0: any will do, and there is nothing to check.

    Raises:
        ConfigError: The port is taken or may not be used.
    """
    if not port:
        return
    with socket.socket() as probe:
        # As the server itself does: a port whose last connections are only winding up is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((METRICS_ADDRESS, port))
        except OSError as error:
            raise ConfigError(
                f"--metrics-port {port} cannot be used on this machine ({error.strerror}); expected a free port"
            ) from error
