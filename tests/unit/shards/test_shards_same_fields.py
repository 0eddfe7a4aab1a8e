"""Samples whose names are taken apart together against the careful way: whatever the names, it says the same or nothing."""

import io
import tarfile

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CorruptDataError
from pipeline.shards.grouping import group_members
from pipeline.shards.same_fields import same_fields
from pipeline.shards.shard_range import _plain_samples  # pyright: ignore[reportPrivateUsage]
from pipeline.shards.tar_columns import walk_samples
from pipeline.shards.tar_walk import walk_tar

keys = st.sampled_from(["a", "b", "é", "dir/a", "dir/b", "v1.2/a", "./a", "__meta__", "__a", "x__y", "dir/.a", "a.b", "dir/"])
endings = st.sampled_from([".png", ".PNG", ".cls", ".seg.png", "", "."])


def archive(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = number
            tar.addfile(info, io.BytesIO(bytes(number)))
    return buffer.getvalue()


@given(
    keys=st.lists(keys, min_size=1, max_size=6),
    endings=st.lists(endings, min_size=1, max_size=3),
    other=st.none() | st.tuples(st.integers(0, 17), keys, endings),
)
def test_samples_are_those_of_the_careful_way(keys: list[str], endings: list[str], other: tuple[int, str, str] | None) -> None:
    names = [key + ending for key in keys for ending in endings]
    if other is not None:
        names[other[0] % len(names)] = other[1] + other[2]
    data = archive(names)
    try:
        spans = list(group_members(walk_tar(data, "a.tar"), "a.tar"))
    except CorruptDataError:
        spans = []
    # Where samples begin by the names as they were meant, whether these are samples or not.
    at = np.cumsum([0, *(512 + 512 * bool(number) for number in range(len(names)))])
    begins = at[:: len(endings)]
    found = _plain_samples(memoryview(data)[: at[-1]], begins)
    if found is not None:
        assert begins[:-1].tolist() == [offset for _, offset, _ in spans]
        assert [(key, found[1](number)) for number, key in enumerate(found[0])] == [
            (key, {field: data[start : start + size] for field, start, size in fields}) for key, _, fields in spans
        ]


def test_like_samples_are_not_left_to_the_slow_way() -> None:
    names = [f"dir/{number:03d}.{ending}" for number in range(5) for ending in ("seg.PNG", "cls")]
    data = archive(names)
    at = np.cumsum([0, *(512 + 512 * bool(number) for number in range(len(names)))])
    members = walk_samples(memoryview(data)[: at[-1]], at[::2])
    assert members is not None
    assert same_fields(members, 5) == ([f"dir/{number:03d}" for number in range(5)], ["seg.png", "cls"])
