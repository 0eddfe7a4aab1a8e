"""Reading much with one call: a reader that is woken for every packet pays a switch of tasks, and Python's lock, for each."""

import socket
import struct

GATHERED_BYTES = 256 * 1024
"""That the system waits for before it wakes the reader. More leaves the sender waiting at a full window."""
GATHERING_S = 0.25
"""What came is handed over after this time, however little."""
_TIMEVAL = struct.Struct("@ll")
_GATHERING = _TIMEVAL.pack(0, int(GATHERING_S * 1e6))
_FOREVER = _TIMEVAL.pack(0, 0)


def receive(connection: socket.socket, into: memoryview) -> int | None:
    """Fills `into` from a connection as far as that comes within a moment.

    Args:
        connection: One without TLS, whose bytes are those of the answer.
        into: Room for no more than is still to come: one byte too many would be waited for.

    Returns:
        How many bytes came; 0 where the connection has ended, None where nothing came yet.
    """
    timeout_s = connection.gettimeout()
    connection.settimeout(None)  # Python's own waiting ends with the first bytes
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _GATHERING)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(len(into), GATHERED_BYTES))
    try:
        return connection.recv_into(into, 0, socket.MSG_WAITALL)
    except BlockingIOError:
        return None
    finally:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _FOREVER)
        connection.settimeout(timeout_s)
