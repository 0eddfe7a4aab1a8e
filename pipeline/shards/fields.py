"""What a sample is made of, and how its label and its image are found among the fields."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import xxhash

from pipeline.errors import ConfigError, CorruptDataError

_COMMON_SUFFIXES = ("png", "jpg", "jpeg", "webp", "ppm", "pgm", "bmp", "tif", "tiff", "gif", "avif", "jp2")
_RARE_SUFFIXES = ("pbm", "pnm", "jpe", "jfif", "apng", "j2k", "j2c", "jpc", "jpf", "jpx")  # of the same formats
IMAGE_SUFFIXES = (*_COMMON_SUFFIXES, *_RARE_SUFFIXES)
"""Last parts of field names that hold images, the preferred first."""


class RawSample(NamedTuple):
    """One sample as it lies in its shard: bytes, nothing decoded."""

    key: str
    """The path of its members up to the first dot of the basename."""

    fields: Mapping[str, memoryview]
    """Bytes by field name (the extension in lower case, such as `png`, `cls`, `seg.png`), in shard order."""

    uri: str
    """The shard."""

    offset: int
    """Where the sample begins in the shard, in bytes."""

    stretch: memoryview
    """All of its bytes in the shard, headers and padding included."""

    digest: int | None
    """XXH3 of 64 bits that the stretch should have; None where the index has no checksums."""


def check_digest(sample: RawSample) -> None:
    """Compares a sample's bytes with its checksum, where there is one.

    Args:
        sample: The sample.

    Raises:
        CorruptDataError: They are other bytes than the index was made from.
    """
    if sample.digest is not None and (found := xxhash.xxh3_64_intdigest(sample.stretch)) != sample.digest:
        problem = f"sample {sample.key!r} has the checksum {found:016x}, the index says {sample.digest:016x}"
        raise CorruptDataError(problem, sample.uri, sample.offset)


def image_field(sample: RawSample, wanted: str = "") -> str:
    """The name of the field that holds the image.

    A field named plainly (`png`) goes before one with more parts (`small.png`); among those, `IMAGE_SUFFIXES` decides.

    Args:
        sample: The sample.
        wanted: The field to take, such as `left.png`; empty: the one that is found.

    Raises:
        ConfigError: No field holds an image, or several are equally good (`left.png`, `right.png`) and none is wanted.
    """
    if wanted:
        if wanted not in sample.fields:
            raise ConfigError(f"{_has(sample)}, expected {wanted!r} (image_field), in {sample.uri}")
        return wanted
    for suffix in IMAGE_SUFFIXES:
        if suffix in sample.fields:
            return suffix
    for suffix in IMAGE_SUFFIXES:
        matches = [name for name in sample.fields if name.endswith("." + suffix)]
        if len(matches) > 1:
            raise ConfigError(
                f"sample {sample.key!r} has {len(matches)} images, {', '.join(matches)}, expected one, or to be told which "
                f"(image_field; when training, --stream.image-field), in {sample.uri}"
            )
        if matches:
            return matches[0]
    raise ConfigError(
        f"{_has(sample)}, expected an image such as png or jpg, or to be told which field is one (image_field; when training, "
        f"--stream.image-field), in {sample.uri}"
    )


def has_label(sample: RawSample) -> bool:
    """Whether the sample has a field `decode_label` can read: `cls`, or `json` with a `label`.

    Args:
        sample: The sample.

    Raises:
        CorruptDataError: The `json` field is no JSON.
    """
    return "cls" in sample.fields or _json_label(sample) is not None


def decode_label(sample: RawSample) -> int:
    """The sample's class, at least 0: from the field `cls` (digits), else from `label` in the field `json`.

    Args:
        sample: The sample.

    Raises:
        ConfigError: The sample has neither.
        CorruptDataError: What is there is no such number.
    """
    if "cls" in sample.fields:
        text = bytes(sample.fields["cls"]).strip()
        if not text.isdigit() or len(text) > 18:
            raise CorruptDataError(
                f"sample {sample.key!r} has the label {text[:20]!r}, expected a class number", sample.uri, sample.offset
            )
        return int(text)
    label = _json_label(sample)
    if label is None:
        raise ConfigError(
            f"sample {sample.key!r} has no label: got {_fields(sample)}, expected 'cls', or 'json' with a 'label', "
            f"in {sample.uri}"
        )
    if not isinstance(label, int) or isinstance(label, bool) or label < 0:
        raise CorruptDataError(
            f"sample {sample.key!r} has the label {label!r}, expected a class number", sample.uri, sample.offset
        )
    return label


def _json_label(sample: RawSample) -> object:
    if "json" not in sample.fields:
        return None
    try:
        content = json.loads(bytes(sample.fields["json"]))
    except (ValueError, RecursionError) as error:  # the latter: nested too deeply
        raise CorruptDataError(f"sample {sample.key!r} has a damaged json field: {error}", sample.uri, sample.offset) from None
    return content.get("label") if isinstance(content, dict) else None


def _has(sample: RawSample) -> str:
    return f"sample {sample.key!r} has {_fields(sample)}"


def _fields(sample: RawSample) -> str:
    """Those that it has, and which of them webdataset would unpack before it looks what they are."""
    packed = [name for name in sample.fields if name.endswith(".gz")]
    note = f" (compressed fields, here {', '.join(packed)}, are not read)" if packed else ""
    return f"the fields {', '.join(sample.fields)}{note}"
