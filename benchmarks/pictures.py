"""The pictures of the stream's benchmarks, and the commands that serve them."""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from measuring import Command
from PIL import Image

from pipeline.generation import encode_png
from pipeline.shards import ImageSource, SourceImage, pack

HERE = Path(__file__).parent
PEERS_PYTHON = HERE.parent / ".bench" / "venv" / "bin" / "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """One kind of picture, packed into shards."""

    name: str
    extension: str
    side: int
    count: int
    """Pictures in the data set."""
    images: int
    """Images a run."""
    pulled_bytes_per_s: float
    """About what this stream reads from S3 a second on 2 cores; only for `ours-256-beside`."""

    def packed(self, folder: str, peers: Iterable[str]) -> str:
        """Packs crops of scikit-learn's two photos and converts them for these peers; returns the folder."""
        from sklearn.datasets import load_sample_images

        photos = [np.ascontiguousarray(image) for image in load_sample_images().images]
        draw = np.random.default_rng(0)

        def crop(number: int) -> SourceImage:
            photo, side = photos[number % 2], self.side if self.extension == "jpg" else 3 * self.side
            top, left = draw.integers(0, photo.shape[0] - side), draw.integers(0, photo.shape[1] - side)
            pixels = np.ascontiguousarray(photo[top : top + side, left : left + side])
            if self.extension == "jpg":
                # As cameras write it: quality 90, halved color resolution.
                data = simplejpeg.encode_jpeg(pixels, quality=90, colorsubsampling="420")
            else:
                small = Image.fromarray(pixels).resize((self.side, self.side), Image.Resampling.LANCZOS)
                data = encode_png(np.asarray(small))
            shape = (self.side, self.side, 3)
            return SourceImage(data=data, extension=self.extension, shape=shape, label=number % 2, metadata={})

        source = ImageSource(name="photos", num_images=self.count, load=crop, class_names=("china", "flower"), seed=0)
        pack(source, folder, shard_size=500)
        prepare = [PEERS_PYTHON, HERE / "stream_peers.py", "prepare", folder, self.extension, *peers]
        subprocess.run(prepare, check=True, stdout=sys.stderr)
        return folder

    def command(self, case: str, folder: str, remote: tuple[str, str] = ("", ""), more: Sequence[str] = ()) -> Command:
        """The command that serves a case from a folder, or from its copy on S3 (its s3:// and http:// addresses)."""
        here = case.startswith(("ours", "ray-data"))
        script = HERE / ("stream_here.py" if here else "stream_peers.py")
        python = sys.executable if here else str(PEERS_PYTHON)
        if case.endswith("-s3"):
            folder = remote[case.startswith("webdataset")]
        name = case.removesuffix("-s3").removesuffix("-beside")
        return [python, str(script), name, folder, self.extension, str(self.side), *more]


KINDS = (
    Pictures(name="JPEG 256x256", extension="jpg", side=256, count=48_000, images=48_000, pulled_bytes_per_s=100e6),
    Pictures(name="PNG 64x64", extension="png", side=64, count=48_000, images=96_000, pulled_bytes_per_s=130e6),
)
