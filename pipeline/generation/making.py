"""From a range of sample numbers to the bytes of a part: sampling, then encoding; the same wherever it is done."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.checkpoints import load_model
from pipeline.errors import ConfigError, CorruptDataError
from pipeline.generation.conditions import Conditions, load_conditions
from pipeline.generation.encode import EXTENSIONS, encoder
from pipeline.generation.sampling import ImageSampler
from pipeline.generation.spec import GenerationSpec
from pipeline.samples import PartRange, PartRows, PartSuffix, encode_part

_CPU_THREADS = 1  # always: sums are split by the number of threads, and would round otherwise
_ENCODING_THREADS = 4
MAX_IMAGE_BYTES = 2**31 - 2
"""Of a part's images, encoded: what one Arrow array with 32-bit offsets holds. Raw pixels have no offsets and no such limit."""


class PartMaker:
    """Makes parts of one sample set.

    Args:
        checkpoint: Checkpoint folder.
        spec: What to sample.
        provenance: Goes into every part.
        conditions: Parquet file of conditions, where the specification has the digest of one.

    Raises:
        CorruptDataError: The checkpoint or the conditions are damaged or not those that the specification names.
        StorageError: They cannot be read.
    """

    def __init__(self, checkpoint: str, spec: GenerationSpec, provenance: dict[str, Any], conditions: str = "") -> None:
        self._spec, self._provenance = spec, provenance
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cpu":
            torch.set_num_threads(_CPU_THREADS)
        loaded = load_model(checkpoint, spec.ema)
        if loaded.digest != spec.checkpoint_digest:
            raise CorruptDataError(
                f"the checkpoint changed: digest {loaded.digest[:12]}, expected {spec.checkpoint_digest[:12]}", checkpoint
            )
        self._conditions: Conditions | None = None
        if spec.conditions_sha256:
            classes = loaded.model.config.image.num_classes
            self._conditions = load_conditions(conditions, classes, sha256=spec.conditions_sha256)
        self._sampler = ImageSampler(loaded.model, spec, device, self._labels_of)
        self._encode = None if spec.image_format == "raw" else encoder(spec.image_format, spec.quality)
        self._pool = ThreadPoolExecutor(_ENCODING_THREADS) if device.type == "cuda" else None

    @property
    def suffix(self) -> PartSuffix:
        """What kind of file the parts are."""
        return "tar" if self._spec.layout == "webdataset" else "parquet"

    def sample(self, part: PartRange, on_batch: Callable[[int], None] = lambda rows: None) -> NDArray[np.uint8]:
        """Returns the part's images, uint8 [rows, H, W, C]; keeps the device busy, and must not run twice at once.

        Args:
            part: Which samples.
            on_batch: Called after each batch with the number of images it gave.
        """
        return self._sampler.images(part.first, part.rows, on_batch)

    def encode(self, part: PartRange, images: NDArray[np.uint8]) -> bytes | memoryview:
        """Returns the part's file; needs no device.

        Args:
            part: Which samples.
            images: From `sample`.

        Raises:
            ConfigError: The images are too large together.
        """
        labels = self._labels_of(part.first, part.rows)
        rows = PartRows(
            first=part.first,
            images=images if self._encode is None else self._encoded(self._encode, images),
            labels=None if labels is None else labels.tolist(),
            keys=None if self._conditions is None else self._conditions.keys_of(part.first, part.rows),
            extension=EXTENSIONS[self._spec.image_format],
        )
        return encode_part(rows, self._provenance, self.suffix)

    def _encoded(self, encode: Callable[[NDArray[np.uint8]], bytes], images: NDArray[np.uint8]) -> list[bytes]:
        encode_all = map if self._pool is None else self._pool.map
        encoded = list(encode_all(encode, images))
        if (size := sum(map(len, encoded))) > MAX_IMAGE_BYTES:
            raise ConfigError(
                f"part_rows: got {size:,} bytes in the {len(encoded):,} images of a part, expected at most "
                f"{MAX_IMAGE_BYTES:,}; begin another output with lower --part-rows"
            )
        return encoded

    def _labels_of(self, first: int, rows: int) -> NDArray[np.int64] | None:
        if self._conditions is not None:
            return self._conditions.labels_of(first, rows)
        return self._spec.labels_of(first, rows)
