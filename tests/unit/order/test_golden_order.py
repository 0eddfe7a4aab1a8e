"""The order is frozen: a change here breaks the resume of every run that exists, and must raise ORDER_VERSION."""

import json
from pathlib import Path

import numpy as np

from pipeline.order import MixtureOrder, OrderConfig, StreamOrder, chances, key64, permute

GOLDEN = Path(__file__).parents[2] / "golden" / "order.json"


def computed() -> dict[str, object]:
    """What the golden file must hold; `python tests/unit/order/test_golden_order.py` prints it."""
    order = StreamOrder([7, 0, 31, 12, 50], OrderConfig(seed=11, batch_size=12, lanes=3, window=10))
    huge = StreamOrder(np.full(100_000, 10_000), OrderConfig(seed=2**40 + 1, batch_size=4096, lanes=16, window=8192))
    first = StreamOrder([30, 0, 20], OrderConfig(seed=5, batch_size=4, lanes=4, window=6))
    second = StreamOrder([11, 9], OrderConfig(seed=6, batch_size=2, lanes=2, window=5))
    mixture = MixtureOrder([first, second], [7, 3], batch_size=12, seed=11)
    return {
        "chances": chances(11, "cut", 2, np.array([0, 1, 10**9]), 2).tolist(),
        "replacements": [order.replacement(epoch, 17, attempt) for epoch in (0, 1) for attempt in (0, 1)],
        "mixture_fingerprint": mixture.fingerprint("index"),
        "mixture_batches": {str(step): mixture.rows(step).sample.tolist() for step in (0, 1, 7, 10**9)},
        "key64": [key64(0), key64(1, "window", 2, 3), key64("a")],
        "permute_10": permute(np.arange(10), 10, 42).tolist(),
        "permute_1000_first": permute(np.arange(8), 1000, 2**63).tolist(),
        "fingerprint": order.fingerprint("index"),
        "batches": {str(step): order.rows(step).sample.tolist() for step in (0, 1, 7, 8, 9, 10**9)},
        "billion_samples": {str(step): huge.rows(step, 250, 262).sample.tolist() for step in (0, 10**5, 10**8)},
    }


def test_order_equals_the_frozen_one() -> None:
    assert computed() == json.loads(GOLDEN.read_text())


def test_window_borders_of_the_lanes_are_spread_over_time() -> None:
    order = StreamOrder([4000], OrderConfig(seed=0, batch_size=4, lanes=4, window=400))
    begins = []
    for step in range(400):
        for lane in range(4):
            ((_, _, span, _, _),) = order.stretches(step, lane, lane + 1)
            begins += [step] if span.start == step and step else []
    assert begins == [100, 200, 300]


if __name__ == "__main__":
    print(json.dumps(computed(), indent=1))
