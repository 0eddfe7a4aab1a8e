"""Tars to test with, written by Python's tarfile and by webdataset, never by the code under test."""

import gc
import io
import tarfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from webdataset.compat import WebDataset
from webdataset.writer import TarWriter


def make_tar(files: Sequence[tuple[str, bytes]], tar_format: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def make_png(seed: int = 0, shape: tuple[int, ...] = (8, 8)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(name="make_tar")
def _make_tar() -> Callable[..., bytes]:
    return make_tar


@pytest.fixture(name="make_png")
def _make_png() -> Callable[..., bytes]:
    return make_png


def read_by_webdataset(path: Path) -> list[dict[str, bytes]]:
    """The samples as webdataset's own reader gives them, without its notes on where they came from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves closing its files to the garbage collector
        samples = list(WebDataset(str(path), shardshuffle=False))
        gc.collect()
    return [{k: v for k, v in sample.items() if k not in ("__url__", "__local_path__")} for sample in samples]


@pytest.fixture
def by_webdataset() -> Callable[[Path], list[dict[str, bytes]]]:
    return read_by_webdataset


@pytest.fixture
def shard_folder(tmp_path: Path) -> Path:
    """Three shards of 7, 1 and 4 samples as webdataset writes them (each member behind a PAX record), no index."""
    folder = tmp_path / "data"
    folder.mkdir()
    number = 0
    for shard, count in enumerate((7, 1, 4)):
        with TarWriter(str(folder / f"train-{shard:03d}.tar"), encoder=False) as writer:
            for _ in range(count):
                label = str(number % 3).encode()
                writer.write({"__key__": f"a.b/s{number:04d}", "png": make_png(number), "cls": label, "seg.PNG": b"x" * number})
                number += 1
    return folder
