"""What does the order cost? Time to plan a batch, memory, and time to begin anywhere.

    python benchmarks/order.py

The upper table plans batches of 1,024 rows over 16 lanes, in CPU time: which slices of shuffled windows the next one takes, which is
what loaders ask for; which samples it holds, alone; and the same at random steps of the first thousand epochs, as `which.py` does; memory is what Python and numpy allocated at most, the list of shards not counted. The
lower table reads the 5,000 packaged digits: the time to a first batch at the start and at random steps, which is fetching one
window of each lane, and the time of a batch when the windows are there.
"""

import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from measuring import machine

from pipeline.order import MixtureOrder, Order, OrderConfig, StreamOrder
from pipeline.shards import open_data, open_source, pack
from pipeline.stream import ImageSpec, SliceReader, StreamConfig, make_order

BATCH, LANES, WINDOW = 1024, 16, 8192
SIZES = {
    "1.3 million in 1,300": (1_300, 1_000),
    "100 million in 10,000": (10_000, 10_000),
    "1 billion in 100,000": (100_000, 10_000),
}


def one(shards: int, samples: int) -> Order:
    """The order of one data set of equal shards."""
    return StreamOrder(np.full(shards, samples), OrderConfig(seed=0, batch_size=BATCH, lanes=LANES, window=WINDOW))


def mixture(shards: int, samples: int) -> Order:
    """The order of two halves, mixed 7 to 3."""
    halves = [
        StreamOrder(np.full(shards // 2, samples), OrderConfig(seed=seed, batch_size=lanes, lanes=lanes, window=WINDOW))
        for seed, lanes in ((1, 11), (2, 5))
    ]
    return MixtureOrder(halves, [7, 3], BATCH, 0)


def planned(make: Callable[[int, int], Order], shards: int, samples: int) -> str:
    """One row of the upper table."""
    tracemalloc.start()
    order = make(shards, samples)
    order.rows(0)
    order.rows(order.num_samples // BATCH + 1)  # two epochs' shard orders in memory, as at a border
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    draw = np.random.default_rng(0)
    order.rows(5)
    sliced = [cpu(lambda step=step: order.stretches(step, 0, BATCH)) for step in range(6, 206)]
    following = [cpu(lambda step=step: order.rows(step)) for step in range(6, 206)]
    steps = draw.integers(0, 1000 * order.num_samples // BATCH, 20).tolist()
    anywhere = [cpu(lambda step=step: order.rows(step)) for step in steps]
    return f"{statistics.median(sliced) * 1e3:.2f} | {statistics.median(following) * 1e3:.2f} | {statistics.median(anywhere) * 1e3:.1f} | {peak / 1e6:.1f}"


def cpu(call: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    begin = time.thread_time()
    call()
    return time.thread_time() - begin


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call, on the wall."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def sought(window: int, data: str) -> str:
    """One row of the lower table."""
    index = open_data(data)
    config = StreamConfig(batch_size=64, lanes=16, window=window)
    image = ImageSpec(size=28, channels=1, num_classes=10)
    first, later, following = [], [], []
    for step in (0, *np.random.default_rng(1).integers(1, 10**6, 12).tolist()):
        order = make_order(index, config, seed=0)
        reader = SliceReader(index, order, image, 0, 64)
        (later if step else first).append(timed(lambda reader=reader, step=step: reader.batch(step)))
        following += [timed(lambda reader=reader, k=k, step=step: reader.batch(step + k)) for k in range(1, 4)]
        reader.close()
    return f"{first[0] * 1e3:.0f} | {statistics.median(later) * 1e3:.0f} | {statistics.median(following) * 1e3:.1f}"


def main() -> None:
    """Prints both tables."""
    print("\n".join(f"- {line}" for line in machine(["numpy"])), flush=True)
    print(
        "\n| samples in shards | slices of the next batch, CPU ms | samples of the next batch | of any batch | peak memory, MB |\n|---|---:|---:|---:|---:|"
    )
    for name, size in SIZES.items():
        print(f"| {name} | {planned(one, *size)} |", flush=True)
    print(f"| two halves of the last, mixed 7 to 3 | {planned(mixture, *SIZES['1 billion in 100,000'])} |", flush=True)
    print("\n| window | first batch of the run, ms | first batch elsewhere, ms | next batch, ms |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        pack(open_source("mnist"), folder)
        for window in (32, 128, 512):
            print(f"| {window} | {sought(window, folder)} |", flush=True)


if __name__ == "__main__":
    main()
