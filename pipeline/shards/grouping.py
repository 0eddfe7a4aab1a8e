"""Which members of a tar make one sample: WebDataset's rule, and what is refused by it.

A sample is a run of neighboring members that share the path up to the first dot of the basename; the rest of the basename,
in lower case, names the field: `cat/0001.seg.PNG` is field `seg.png` of sample `cat/0001`.
"""

import re
from collections.abc import Iterable, Iterator

from pipeline.errors import CorruptDataError
from pipeline.shards.tar_walk import Member

FieldSpan = tuple[str, int, int]
"""(field, data_offset, size): where a field's bytes lie in the shard."""

SampleSpan = tuple[str, int, list[FieldSpan]]
"""(key, header_offset, fields): one sample, from where its first member begins."""

_META = re.compile(r"__[^/]*__($|/)")


def split_name(name: str) -> tuple[str, str] | None:
    """(key, field) of a member's name, or None when the member belongs to no sample.

    To no sample belong names without an extension, WebDataset's own metadata (`__name__`), and hidden files (a basename
    that begins with a dot), such as the `._image.png` that macOS puts beside every file it archives.

    Args:
        name: The member's path in the archive.
    """
    base = name.rfind("/") + 1
    dot = name.find(".", base)
    if dot <= base or (name.startswith("__") and _META.match(name)):
        return None
    return name[:dot], name[dot + 1 :].lower()


def group_members(members: Iterable[Member], uri: str) -> Iterator[SampleSpan]:
    """The samples of a shard, in shard order.

    Args:
        members: The shard's members, in shard order (`walk_tar`).
        uri: The shard, for error messages.

    Yields:
        One `SampleSpan` a sample; each has at least one field.

    Raises:
        CorruptDataError: A key comes back after another sample began, so that its members do not stand together; or one
            sample has a field twice.
    """
    seen: set[str] = set()
    current = ""
    names: set[str] = set()
    fields: list[FieldSpan] = []
    first = 0
    for name, data_offset, size, header_offset in members:
        parts = split_name(name)
        if parts is None:
            continue
        key, field = parts
        if key != current or not fields:
            if fields:
                yield current, first, fields
            if key in seen:
                raise CorruptDataError(
                    f"sample {key!r} comes back after other samples, its members must stand together", uri, header_offset
                )
            seen.add(key)
            current, first, fields, names = key, header_offset, [], set()
        if field in names:
            raise CorruptDataError(f"sample {key!r} has the field {field!r} twice", uri, header_offset)
        names.add(field)
        fields.append((field, data_offset, size))
    if fields:
        yield current, first, fields
