import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.order import row_slice
from pipeline.runtime.loader import Loader, LoaderArgs, Target
from pipeline.shards import open_data, open_source, pack
from pipeline.stream import ImageSpec, SliceReader, Slot, SlotAddress, SlotPool, SlotReach, StreamConfig, make_order

SPAWN = multiprocessing.get_context("spawn")


def _write(address: SlotAddress, first: int, value: int) -> None:
    memory = SlotReach().memory(address)
    assert memory is not None
    memory[first : first + 100] = value


def _own_a_slot(connection) -> None:
    slot = Slot(1000)
    connection.send(slot.address)
    connection.recv()


def test_what_another_process_writes_is_seen():
    slot = Slot(1000)
    assert slot.address is not None
    for first, value in ((0, 3), (500, 4)):
        writer = SPAWN.Process(target=_write, args=(slot.address, first, value))
        writer.start()
        writer.join()
        assert writer.exitcode == 0
    assert [slot.memory[0], slot.memory[99], slot.memory[100], slot.memory[500], slot.memory[599]] == [3, 3, 0, 4, 4]


def test_rows_of_pixels_are_where_the_decoder_writes_through_the_caches():
    slot = Slot(1000)
    assert slot.address is not None
    reached = SlotReach().memory(slot.address)
    assert reached is not None
    for memory in (slot.memory, reached):
        assert memory.shape == (1000,)
        assert memory.ctypes.data % 32 == 16  # libjpeg-turbo asks for multiples of 32 where it goes past them


def test_a_killed_owner_leaves_nothing():
    here, there = SPAWN.Pipe()
    owner = SPAWN.Process(target=_own_a_slot, args=(there,))
    owner.start()
    address = here.recv()
    reach = SlotReach()
    memory = reach.memory(address)
    assert memory is not None
    memory[:] = 7
    assert owner.pid is not None
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    assert SlotReach().memory(address) is None
    memory[:] = 8  # a late writer is harmless: what it writes to is its own


def test_memory_that_is_not_the_slot_is_never_opened(tmp_path: Path):
    slot = Slot(1000)
    assert slot.address is not None
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    pipe = os.open(fifo, os.O_RDWR)
    try:
        for wrong in (
            slot.address._replace(pid=2**22 + 1),
            slot.address._replace(fd=pipe),
            slot.address._replace(name="/memfd:swissroll-other (deleted)"),
            slot.address._replace(num_bytes=10**6),  # larger than it is
        ):
            assert SlotReach().memory(wrong) is None
    finally:
        os.close(pipe)


def test_slots_that_were_given_back_are_let_go_of_by_those_who_found_them():
    reach, first, second = SlotReach(), Slot(1000), Slot(1000)
    assert first.address is not None
    assert second.address is not None
    assert reach.memory(first.address) is reach.memory(first.address)
    gone = first.address
    del first
    assert reach.memory(second.address) is not None
    assert gone not in reach._found


@pytest.mark.parametrize("as_tensor", [True, False])
def test_a_slot_is_used_again_only_when_nothing_over_it_is_left(as_tensor: bool):
    pool = SlotPool(1000, most_free=2)
    slot = pool.take()
    address = slot.address
    whole = pool.lend(slot, reuse=True)
    del slot
    held = torch.from_numpy(whole[100:200].reshape(10, 10)[3:]) if as_tensor else whole[100:200].reshape(10, 10)[3:]
    del whole
    others = [pool.take() for _ in range(3)]
    assert address not in [other.address for other in others]
    del held
    assert pool.take().address == address


def test_a_slot_that_somebody_may_still_write_to_is_never_used_again():
    pool = SlotPool(1000, most_free=2)
    slot = pool.take()
    address = slot.address
    lent = pool.lend(slot, reuse=False)
    del slot, lent
    assert address not in [pool.take().address for _ in range(3)]


def test_a_loader_writes_into_the_slot_or_sends_what_it_would_have_written(tmp_path: Path):
    pack(open_source("digits"), str(tmp_path), shard_size=300)
    index, image = open_data(str(tmp_path)), ImageSpec(size=8, channels=1, num_classes=10)
    order = make_order(index, StreamConfig(batch_size=24, lanes=6, window=50), seed=5)
    first, last = row_slice(24, 1, 2)
    reader = SliceReader(index, order, image, first, last)
    expected = [reader.batch(step) for step in (7, 8, 9)]
    reader.close()
    slot = Slot(3 * 24 * image.image_bytes)
    assert slot.address is not None
    loader = Loader(LoaderArgs(name="loader", index=index, order=order, image=image))
    near = Target(slot.address, 24, first)
    far = replace_slot(near, pid=2**22 + 1)
    written, sent, plain = (loader.batches(first, last, 7, 3, target) for target in (near, far, None))
    assert written.images is None
    assert sent.images is not None
    assert plain.images is not None
    in_slot = slot.memory.reshape(3, 24, *image.shape)
    assert not in_slot[:, :first].any(), "rows of others were touched"
    for i, batch in enumerate(expected):
        for images in (in_slot[i, first:last], sent.images[i], plain.images[i]):
            assert np.array_equal(images, batch.images)
        for answer in (written, sent, plain):
            assert np.array_equal(answer.labels[i], batch.labels)
            assert np.array_equal(answer.samples[i], batch.samples)
            assert np.array_equal(answer.epochs[i], batch.epochs)


def replace_slot(target: Target, **changes: int) -> Target:
    return target._replace(slot=target.slot._replace(**changes))
