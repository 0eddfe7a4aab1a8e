"""What a sample set is a function of, the classes it asks for, and the files its images become."""

import dataclasses
import io
import json

import numpy as np
import pytest
from generation_models import spec
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import TypeAdapter

from pipeline.errors import ConfigError
from pipeline.families import SamplerConfig
from pipeline.generation import GenerationSpec, LabelRule, encode_png, parse_labels


@given(
    seed=st.integers(0, 2**63),
    guidance=st.floats(0, 10),
    labels=st.lists(st.integers(0, 99), min_size=1, max_size=5).map(tuple),
    rows=st.integers(1, 10**6),
)
def test_json_holds_the_whole_specification(seed: int, guidance: float, labels: tuple[int, ...], rows: int) -> None:
    one = spec(seed=seed, guidance=guidance, labels=labels, part_rows=rows)
    again = TypeAdapter(GenerationSpec).validate_python(json.loads(json.dumps(one.to_json())))
    assert again == one


def test_any_other_field_gives_other_json() -> None:
    base = spec()
    changes = {
        "checkpoint_digest": "e" * 64,
        "seed": 2,
        "sampler": SamplerConfig(name="ddim", steps=6),
        "guidance": 2.0,
        "labels": (0, 2, 1),
        "draw_pixels": True,
        "ema": 0.1,
        "part_rows": 41,
        "batch_rows": 9,
        "precision": "bf16",
        "compiled": True,
        "label_counts": (5, 5, 5),
        "label_weights": (1.0, 2.0, 3.0),
        "conditions_sha256": "c" * 64,
        "image_format": "webp",
        "layout": "webdataset",
        "quality": 90,
        "sampling_version": base.sampling_version + 1,
    }
    assert set(changes) == set(GenerationSpec.__dataclass_fields__)
    jpeg = spec(image_format="jpeg")
    for name, value in changes.items():
        assert dataclasses.replace(jpeg, **{name: value}).to_json() != jpeg.to_json()


@given(first=st.integers(0, 10**12), rows=st.integers(1, 30), labels=st.lists(st.integers(0, 9), min_size=1, max_size=7))
def test_labels_cycle_from_sample_zero(first: int, rows: int, labels: list[int]) -> None:
    found = spec(labels=tuple(labels)).labels_of(first, rows)
    assert found is not None
    assert found.dtype == np.int64
    assert found.tolist() == [labels[i % len(labels)] for i in range(first, first + rows)]


def test_a_model_without_labels_has_none() -> None:
    assert spec(labels=()).labels_of(0, 5) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"part_rows": 0}, "part_rows must be at least 1, got 0"),
        ({"batch_rows": -1}, "batch_rows must be at least 1, got -1"),
        ({"quality": 90}, "quality: got 90 for png, which has none"),
        ({"quality": 0, "image_format": "jpeg"}, "quality: got 0, expected 1 to 100"),
        ({"image_format": "raw", "layout": "webdataset"}, "got raw for webdataset, expected png, jpeg or webp"),
        ({"compiled": True, "sampler": None}, "compiled: got true for a model that is sampled in one pass"),
        ({"labels": (), "guidance": 2.0}, r"guidance needs a model with labels, got 2\.0"),
    ],
)
def test_a_specification_that_cannot_work_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        spec(**changes)


@pytest.mark.parametrize(
    ("text", "classes", "expected"),
    [("all", 3, (0, 1, 2)), ("all", 0, ()), ("3", 10, (3,)), ("2,0,2", 3, (2, 0, 2)), (" 1, 2 ", 3, (1, 2))],
)
def test_labels_are_read(text: str, classes: int, expected: tuple[int, ...]) -> None:
    assert parse_labels(text, classes) == LabelRule(classes=expected)


@pytest.mark.parametrize(
    ("text", "classes", "says"),
    [
        ("10", 10, "got class 10, expected 0 to 9"),
        ("-1", 10, "got class -1, expected 0 to 9"),
        ("three", 10, "got 'three', expected all, one class, classes separated by commas"),
        ("1,,2", 10, "got '1,,2'"),
        ("", 10, "got ''"),
        ("0", 0, "the checkpoint's model has no labels; expected all"),
    ],
)
def test_bad_labels_are_refused(text: str, classes: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_labels(text, classes)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_gives_every_pixel_back_and_the_same_bytes_again(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, channels), dtype=np.uint8)
    data = encode_png(pixels)
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("PNG", "L" if channels == 1 else "RGB")
    assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)
    assert encode_png(pixels.copy(order="F")) == data
