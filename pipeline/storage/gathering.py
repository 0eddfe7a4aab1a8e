"""Reading much at once from a connection: a reader that is woken for every packet pays a switch of tasks for each.

In threads it pays for Python's lock as well, so that whoever decodes meanwhile is interrupted less often, too.
"""

import socket

GATHERED_BYTES = 256 * 1024
"""That the system waits for before it wakes the reader. More leaves the sender waiting at a full window."""
GATHERING_S = 0.25
"""What came is handed over when nothing like that came for so long."""


def gather(connection: socket.socket, into: memoryview) -> int | None:
    """Fills `into` from a connection, as long as what is waited for comes within a moment.

    Args:
        connection: One without TLS, whose bytes are those of the answer.
        into: Room for no more than is still to come: one byte too many would be waited for.

    Returns:
        How many bytes came; 0 where the connection has ended, None where nothing came yet.
    """
    timeout_s, filled = connection.gettimeout(), 0
    connection.settimeout(GATHERING_S)
    try:
        while filled < len(into):
            _wake_at(connection, min(len(into) - filled, GATHERED_BYTES))
            try:
                got = connection.recv_into(into[filled:])
            except TimeoutError:
                connection.setblocking(False)
                return filled + connection.recv_into(into[filled:])  # less than the system was to wait for
            if not got:
                break  # the next call meets the end again
            filled += got
    except BlockingIOError:
        return filled or None
    except OSError:
        if not filled:
            raise  # else the next call meets it, or the end
    finally:
        _wake_at(connection, 1)  # a header, or the next answer's, is not waited for
        connection.settimeout(timeout_s)
    return filled


def _wake_at(connection: socket.socket, size: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
