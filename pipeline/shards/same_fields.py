"""Keys and fields of many samples at once, where all have the same fields in the same order, as in nearly every shard."""

from pipeline.shards.grouping import split_name
from pipeline.shards.tar_columns import Members


def same_fields(found: list[Members], count: int) -> tuple[list[str], list[str]] | None:
    """(key of each sample, fields of all of them), or None where the names must be looked at one by one.

    Args:
        found: The samples' members, as `walk_samples` gives them.
        count: Number of samples, at least 1.
    """
    keys: list[bytes] = []
    fields: list[str] = []
    for members in found:
        parts = split_name(members.names[0].decode("utf-8", "surrogateescape"))
        if parts is None or len(members.rows) != count:
            return None
        ending = members.names[0][len(parts[0].encode("utf-8", "surrogateescape")) :]
        if not fields:
            keys = [name[: -len(ending)] for name in members.names]
        if [key + ending for key in keys] != members.names:
            return None
        fields.append(parts[1])
    # Names have no zero byte. The first dot of each basename must be that of the ending, which is so where keys have none.
    joined = b"\0".join([b"", *keys, b""])
    is_plain = not any(odd in joined for odd in (b".", b"/\0", b"\0\0", b"\0__"))
    if not is_plain or not fields or len(set(keys)) < count or len(set(fields)) < len(fields):
        return None
    return joined[1:-1].decode("utf-8", "surrogateescape").split("\0"), fields
