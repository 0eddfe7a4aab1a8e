"""Images on their way into shards: what a data set to be packed consists of, and in which order it is packed."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceImage:
    """One image with what is known of it."""

    data: bytes
    """The image file's bytes."""

    extension: str
    """What the bytes are: `png`, `jpg` or `webp`."""

    shape: tuple[int, int, int]
    """Height, width (both upright) and channels, 1 for grey or 3 for color."""

    label: int | None
    """Its class, or None."""

    metadata: Mapping[str, str | int]
    """Where it comes from, for the sample's `json` field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSource:
    """A set of images to pack. Iterating gives (key, image) in packing order: shuffled, the same for the same seed."""

    name: str
    """What the data set is called."""

    num_images: int
    """Images in it, at least 1."""

    load: Callable[[int], SourceImage]
    """Gives image number 0, 1, ... num_images - 1; raises CorruptDataError by name when it is no image."""

    class_names: tuple[str, ...] = ()
    """Name of label 0, 1, ...; empty when the images have no labels."""

    ignored: tuple[str, ...] = ()
    """Files that were found among the images and are none."""

    seed: int = 0
    """Chooses the order: shards mix the classes whatever order the images came in."""

    def __post_init__(self) -> None:
        if self.num_images < 1:
            raise ConfigError(f"num_images is {self.num_images}, expected at least 1 image in {self.name}")

    @property
    def ignored_kinds(self) -> str:
        """How many of the ignored files have which ending, the most frequent five: `.heic 298, .txt 2`."""
        kinds = Counter(PurePosixPath(name.lower()).suffix or "without ending" for name in self.ignored)
        more = ", ..." if len(kinds) > 5 else ""
        told = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))[:5]
        return ", ".join(f"{kind} {count:,}" for kind, count in told) + more

    def __len__(self) -> int:
        return self.num_images

    def __iter__(self) -> Iterator[tuple[str, SourceImage]]:
        for position, number in enumerate(shuffled(self.num_images, self.seed)):
            yield f"{position:08d}", self.load(number)


def shuffled(count: int, seed: int) -> list[int]:
    """The numbers 0 to count - 1 in an order that depends on (count, seed) alone, in this and every later release.

    Args:
        count: How many.
        seed: Any integer.
    """
    # Sorted by a hash: library generators promise no fixed stream from one version to the next.
    return sorted(range(count), key=lambda number: hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=16).digest())
