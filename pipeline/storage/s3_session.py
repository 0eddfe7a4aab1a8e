"""Bounds on the whole of each small answer to s3fs: its client's own timeouts end silence, but not a drip."""

import asyncio
from functools import cache
from typing import Any


@cache
def timely_session(answer_s: float, put_s: float, joining_s: float, slowest_bytes_per_s: float) -> type:
    """The class of HTTP sessions for aiobotocore (`http_session_cls` of its configuration).

    A request's time ends with its answer's body where that is small (a header, a page of a listing), and with the header
    where the body is an object.

    Args:
        answer_s: Seconds for a request without a body.
        put_s: Seconds for one with a body, beyond what the body takes: unlike a look it is dear to repeat.
        joining_s: Seconds for putting the parts of a large object together, which a store may do while it is waited for.
        slowest_bytes_per_s: What a body may take.
    """
    from aiobotocore.httpsession import AIOHTTPSession  # slow to load, and needed for S3 alone
    from botocore.exceptions import ReadTimeoutError

    class TimelySession(AIOHTTPSession):
        async def send(self, request: Any) -> Any:
            size = int(request.headers.get("Content-Length") or 0)
            allowed_s = put_s + size / slowest_bytes_per_s if request.body else answer_s
            if "uploadId=" in request.url and request.method == "POST":
                allowed_s = joining_s
            try:
                return await asyncio.wait_for(super().send(request), allowed_s)
            except TimeoutError as error:
                raise ReadTimeoutError(endpoint_url=request.url, error=error) from error

    return TimelySession
