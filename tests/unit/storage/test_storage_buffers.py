import numpy as np

from pipeline.storage import buffers
from pipeline.storage.buffers import LEAST_BYTES, MOST_FREE_BYTES, buffer

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
    buffers._free.clear()
    view = buffer(SIZE)
    first = address(view)
    part = np.frombuffer(view[1000:2000], np.uint8)[10:20]
    part[:] = 9
    del view
    other = buffer(SIZE)
    assert address(other) != first
    other[:] = bytes(SIZE)
    assert part.tolist() == [9] * 10
    del part
    assert address(buffer(SIZE + 100)) == first  # of about the same size


def test_no_more_than_the_bound_is_kept_for_later():
    buffers._free.clear()
    views = [buffer(2**23) for _ in range(20)]
    assert len({address(view) for view in views}) == 20
    del views
    kept = sum(len(memory) for known in buffers._free.values() for memory in known)
    assert kept == MOST_FREE_BYTES
    buffers._free.clear()
