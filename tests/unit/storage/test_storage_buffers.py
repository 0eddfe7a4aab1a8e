import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.storage.buffers import LEAST_BYTES, MOST_FREE_BYTES, BufferPool, buffer

SIZE = 3 * LEAST_BYTES + 17


def address(view: memoryview) -> int:
    return np.frombuffer(view, np.uint8).__array_interface__["data"][0]


def test_a_buffer_is_writable_and_as_long_as_asked_for():
    for size in (1, LEAST_BYTES - 1, LEAST_BYTES, SIZE, 2**23):
        view = buffer(size)
        assert len(view) == size
        view[size - 1] = 5
        assert bytes(view[-1:]) == b"\x05"


def test_it_is_used_again_when_its_last_view_is_gone_and_not_before():
    pool = BufferPool()
    view = pool.take(SIZE)
    first = address(view)
    part = np.frombuffer(view[1000:2000], np.uint8)[10:20]
    part[:] = 9
    del view
    other = pool.take(SIZE)
    assert address(other) != first
    other[:] = bytes(SIZE)
    assert part.tolist() == [9] * 10
    del part
    assert address(pool.take(SIZE + 100)) == first  # of about the same size


def test_all_that_was_in_use_at_once_is_kept_for_as_much_again():
    pool = BufferPool()
    views = [pool.take(2**23) for _ in range(20)]
    first = {address(view) for view in views}
    assert len(first) == 20
    del views[:]
    assert pool.free_bytes == 20 * 2**23
    assert {address(view) for view in [pool.take(2**23) for _ in range(20)]} == first


def test_the_smallest_free_one_that_is_large_enough_is_taken_and_none_more_than_a_quarter_larger():
    pool = BufferPool()
    sizes = [LEAST_BYTES * factor for factor in (8, 12, 10, 14)]
    views = [pool.take(size) for size in sizes]
    addresses = dict(zip(sizes, map(address, views), strict=True))
    del views[:]
    kept = [pool.take(LEAST_BYTES * 10 - 5), pool.take(LEAST_BYTES * 10), pool.take(LEAST_BYTES * 8)]
    assert list(map(address, kept)) == [addresses[LEAST_BYTES * factor] for factor in (10, 12, 8)]
    kept.append(pool.take(LEAST_BYTES * 8))  # 14 is free
    assert pool.lent_bytes == LEAST_BYTES * (10 + 12 + 8 + 8)


def test_no_more_than_the_bound_is_kept_for_later():
    pool = BufferPool()
    views = [pool.take(2**23) for _ in range(40)]
    del views[:]
    assert pool.free_bytes == MOST_FREE_BYTES


@given(st.lists(st.tuples(st.booleans(), st.integers(LEAST_BYTES, 8 * LEAST_BYTES)), max_size=60))
def test_free_buffers_and_those_in_use_never_make_more_than_was_in_use_at_once(steps: list[tuple[bool, int]]):
    pool, views, most = BufferPool(), [], 0
    for takes, size in steps:
        if takes:
            views.append(pool.take(size))
        elif views:
            del views[size % len(views)]
        most = max(most, pool.lent_bytes)
        assert sum(map(len, views)) <= pool.lent_bytes
        assert pool.free_bytes + pool.lent_bytes <= most
        assert pool.free_bytes == sum(map(len, pool._free.values()))
    del views[:]
    assert pool.lent_bytes == 0


def test_a_buffer_that_comes_back_while_the_pool_is_at_work_waits_for_its_turn():
    """As where Python collects a cycle in the middle of it, in the same thread."""
    pool = BufferPool()
    view = pool.take(SIZE)
    first, size = address(view), pool.lent_bytes
    with pool._lock:
        del view
        assert (pool.lent_bytes, pool.free_bytes) == (size, 0)
    again = pool.take(SIZE)
    assert address(again) == first
    assert (pool.lent_bytes, pool.free_bytes) == (size, 0)
