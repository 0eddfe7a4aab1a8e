"""What an answer over HTTP must be to be taken for the range that was asked for."""

import re

from pipeline.errors import PermanentStorageError
from pipeline.storage.faults import StrangeAnswer, short_range
from pipeline.storage.ranges import NoRange

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.IGNORECASE)  # RFC 9110: units have no case


def check_range(url: str, start: int, end: int, status: int, content_range: str, length: str) -> None:
    """Refuses an answer that is not the range asked for.

    Args:
        url: The object.
        start: First byte asked for.
        end: One past the last byte asked for.
        status: 200 or 206.
        content_range: The answer's Content-Range.
        length: The answer's Content-Length.

    Raises:
        NoRange: The answer is no range.
        StrangeAnswer: The answer is to another question, or tells of an object that is too short; asking again may help: a
            version is named by more than its length.
    """
    if status != 206:
        if start == 0 and not (length.isdigit() and int(length) < end):
            return  # the whole object begins with what is wanted
        raise NoRange(f"got {length or 'unknown'} bytes, expected {end - start} of [{start}, {end}): no range was sent")
    if not content_range:
        return  # against the standard, but seen; a body that is too short is noticed anyhow
    found = _CONTENT_RANGE.fullmatch(content_range.strip())
    if found is None or int(found[1]) != start:
        raise StrangeAnswer(f"got Content-Range {content_range!r}, expected bytes {start}-{end - 1}")
    if found[3] != "*" and int(found[3]) < end:
        problem = f"got Content-Range {content_range!r}, expected a total of at least {end}"
        raise StrangeAnswer(problem, lasting=short_range(url, int(found[3]), end))


def refuse_encoded(url: str, encoding: str) -> None:
    """Refuses compressed bytes: a range of them is no range of the object. On S3 the header only tells of what was stored.

    Args:
        url: The object.
        encoding: The answer's Content-Encoding.

    Raises:
        PermanentStorageError: There is one.
    """
    if encoding.strip().lower() not in ("", "identity"):
        raise PermanentStorageError(
            f"got Content-Encoding {encoding}, expected the object's own bytes, which a server sends uncompressed",
            url,
        )
