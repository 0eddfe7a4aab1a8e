"""The network clients' own error classes, and the errors that errors were raised from."""

from collections.abc import Iterator
from functools import cache


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and the errors it was raised from or holds: clients wrap a lost connection in 'file not found'."""
    links = [error]
    for link in links:
        yield link
        kwargs = getattr(link, "kwargs", None)  # botocore holds it there, urllib3 among the arguments
        held = (link.__cause__, *link.args, kwargs.get("error") if isinstance(kwargs, dict) else None)
        links += [inner for inner in held if isinstance(inner, BaseException) and inner not in links]


@cache
def _client_errors() -> dict[str, tuple[type[Exception], ...]]:
    """The network clients' own error classes: those that pass, those for a header that makes no sense, and all.

    Imported at the first fault, as they are slow to load.
    """
    import aiohttp
    import aiohttp.http_exceptions
    import botocore.exceptions
    import botocore.parsers
    import urllib3.exceptions

    transient = (
        aiohttp.ClientConnectionError,
        aiohttp.ClientPayloadError,
        botocore.exceptions.ConnectionError,  # not a builtin ConnectionError, and not an HTTPClientError
        botocore.exceptions.HTTPClientError,
        botocore.exceptions.IncompleteReadError,
        botocore.parsers.ResponseParserError,
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ProtocolError,
        urllib3.exceptions.TimeoutError,
    )
    garbled = (aiohttp.http_exceptions.HttpProcessingError, urllib3.exceptions.InvalidHeader)
    others = (
        aiohttp.ClientError,
        botocore.exceptions.BotoCoreError,
        botocore.exceptions.ClientError,
        urllib3.exceptions.HTTPError,
    )
    return {"transient": transient, "garbled": garbled, "any": (*transient, *garbled, *others)}


def is_client_error(error: BaseException, kind: str) -> bool:
    """Whether the error is one of the network clients' own.

    Args:
        error: Itself alone, without what it was raised from.
        kind: "transient", "garbled" (a header that makes no sense) or "any".
    """
    if type(error).__module__.partition(".")[0] not in {"aiobotocore", "aiohttp", "botocore", "urllib3"}:
        return False
    return isinstance(error, _client_errors()[kind])


def is_garbled(error: BaseException) -> bool:
    """Whether the answer's header made no sense."""
    return any(is_client_error(link, "garbled") for link in chain(error))
