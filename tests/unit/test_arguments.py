"""Arguments of another kind are refused in one line, wherever Python takes them without a command line's checks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.arguments import expect, whole
from pipeline.errors import ConfigError
from pipeline.storage import RangeCache
from pipeline.stream import ImageSpec, StreamConfig


def test_what_is_of_no_kind_is_refused_in_one_short_line() -> None:
    expect((int, str), "a number or a text", one=1, other="2")
    for value, shown in (((1, 2), r"\(1, 2\)"), (True, "True"), (np.zeros((90, 90)), r"array\(.*"), ("x" * 999, "'x{79}")):
        with pytest.raises(ConfigError, match=f"^given: got {shown}, expected a number") as refused:
            expect(int, "a number", given=value)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 130


def test_whole_numbers_become_pythons_own_within_their_bounds() -> None:
    assert type(whole("n", np.int64(3), 3, 3)) is int
    for value, said in ((2, "at least 3, got 2"), (5, "at most 4, got 5"), (3.0, "whole number, got 3.0"), (True, "got True")):
        with pytest.raises(ConfigError, match=f"n must be .*{said}"):
            whole("n", value, 3, 4)


def image(**fields: Any) -> ImageSpec:
    return ImageSpec(**{"size": 8, "channels": 1, "num_classes": 10, **fields})


@pytest.mark.parametrize(
    ("make", "fields", "said"),
    [
        (StreamConfig, {"crop_min": "0.5"}, "crop_min: got '0.5', expected a number"),
        (StreamConfig, {"max_corrupt_share": "1"}, "max_corrupt_share: got '1', expected a number"),
        (StreamConfig, {"image_field": None}, "image_field: got None, expected the name of a field"),
        (StreamConfig, {"flip": 1}, "flip: got 1, expected True or False"),
        (image, {"crop_min": None}, "crop_min: got None, expected a number"),
        (image, {"image_field": b"png"}, "image_field: got b'png', expected the name of a field"),
        (image, {"channels": 3.0}, "channels: got 3.0, expected 1 or 3"),
        (image, {"size": (8, 8)}, r"size must be a whole number, got \(8, 8\)"),
        (RangeCache, {"folder": None, "max_bytes": 1}, "folder: got None, expected an absolute path"),
        (RangeCache, {"folder": "/c", "max_bytes": "10"}, "max_bytes: got '10', expected a number of bytes"),
        (RangeCache, {"folder": "/c", "max_bytes": float("inf")}, "cache size: got inf bytes"),
        (RangeCache, {"folder": Path("c"), "max_bytes": 1}, "cache folder: got 'c', expected an absolute path"),
    ],
)
def test_fields_of_another_kind_are_named(make: Callable[..., object], fields: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(**fields)


def test_a_cache_takes_a_path_and_a_size_as_people_write_them() -> None:
    assert RangeCache(folder=Path("/c"), max_bytes=1e11) == RangeCache(folder="/c", max_bytes=10**11)  # pyright: ignore[reportArgumentType]
