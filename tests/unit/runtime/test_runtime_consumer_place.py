"""Which consumer of a stream one is: told by numbers, or refused."""

from typing import Any

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.runtime.stream_arguments import consumer_place


def test_a_place_is_told_by_whole_numbers() -> None:
    assert consumer_place(None, None, 36) == (0, 1)
    found = consumer_place(np.int64(1), np.int32(2), 36)  # pyright: ignore[reportArgumentType]
    assert found == (1, 2)
    assert [type(number) for number in found] == [int, int]


@pytest.mark.parametrize(
    ("rank", "world_size", "said"),
    [
        (True, 2, "rank must be a whole number, got True"),
        (False, 2, "rank must be a whole number, got False"),
        (0, True, "world_size must be a whole number, got True"),
        ("0", 2, "rank must be a whole number, got '0'"),
        (0, 2.0, "world_size must be a whole number, got 2.0"),
        (True, None, "got rank True of None consumers, expected both"),
        (None, 2, "got rank None of 2 consumers, expected both"),
        (2, 2, "got rank 2 of 2 consumers"),
        (-1, 2, "got rank -1 of 2 consumers"),
        (0, 0, "got rank 0 of 0 consumers"),
    ],
)
def test_what_is_no_place_is_refused(rank: Any, world_size: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        consumer_place(rank, world_size, 36)
