"""What a store tells about one object without reading it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One object as its store describes it."""

    url: str
    """Where the object is; local objects as absolute plain paths."""
    size: int
    """Bytes."""
    version: str
    """Changes whenever the content does: the ETag of an object store, the mtime in nanoseconds of a local file; may be
    empty where a server tells neither."""
