"""Several data sets under one name: a JSON file with a weight for each."""

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError
from pipeline.shards.index import DatasetMeta, MixedSource, ShardIndex
from pipeline.shards.offsets import JoinedOffsets
from pipeline.shards.places import base_name, folder_of, read_file, resolve
from pipeline.shards.rereading import reread

MAX_WEIGHT_SUM = 10**9
_MOST_DIGITS = 30
_EXPECTED = 'expected {"mixture": {"URL": weight, ...}} with at least two data sets and weights above 0'


def is_mixture(url: str) -> bool:
    """Whether a URL names a mixture file: JSON with a `mixture` and no shards of its own.

    Raises:
        StorageError: The store could not be asked.
    """
    if not base_name(url).endswith(".json") or not storage.exists(url) or storage.is_folder(url):
        return False
    try:
        content = _content(url)
    except CorruptDataError:
        return False
    return isinstance(content, dict) and "mixture" in content


def load_mixture(url: str) -> list[tuple[str, str, int]]:
    """(name, data set, weight) of each data set in a mixture file: `{"mixture": {"train-a": 0.7, "s3://bucket/b": 0.3}}`.

    Names are anything that `open_data` takes, relative ones relative to the file. Weights are taken as the decimal numbers they
    are written as, so 0.7 and 0.3 are exactly 7 to 3.

    Args:
        url: The file.

    Returns:
        Weights as the smallest whole numbers in the same proportion, in the file's order.

    Raises:
        ConfigError: The file is none of this kind.
        StorageError: It could not be read.
    """
    try:
        mixture = _content(url, parse_float=_weight, parse_constant=_no_number, object_pairs_hook=_each_once)["mixture"]
        weights = {name: Fraction(weight) for name, weight in mixture.items() if not isinstance(weight, str | bool)}
    except (CorruptDataError, ValueError, TypeError, KeyError, AttributeError) as error:
        problem = error.problem if isinstance(error, CorruptDataError) else repr(error)
        raise ConfigError(f"{_EXPECTED}, got {problem}, in {url}") from None
    if len(weights) < 2 or len(weights) != len(mixture) or min(weights.values()) <= 0:
        raise ConfigError(f"{_EXPECTED}, got {json.dumps(mixture, default=float)}, in {url}")
    scale = math.lcm(*(weight.denominator for weight in weights.values()))
    whole = [int(weight * scale) for weight in weights.values()]
    common = math.gcd(*whole)
    if sum(whole) // common > MAX_WEIGHT_SUM:
        raise ConfigError(f"weights have more than 9 digits, got {json.dumps(mixture, default=float)}, in {url}")
    folder = folder_of(url)
    return [(name, resolve(folder, name), number // common) for name, number in zip(weights, whole, strict=True)]


def _content(url: str, **hooks: Any) -> Any:
    """What a JSON file holds; one that does not parse is read again, as it may have been damaged on its way."""

    def read(is_first: bool) -> object:
        try:
            return json.loads(read_file(url), **hooks)
        except (ValueError, RecursionError) as error:
            raise CorruptDataError(repr(error), url) from None

    return reread(read, "load_mixture")


def mixed(parts: Sequence[tuple[str, int, ShardIndex]], name: str) -> ShardIndex:
    """The one index of several data sets.

    Args:
        parts: (name, weight, index) of each; none is a mixture itself.
        name: What to call them together.

    Raises:
        ConfigError: Their class names differ.
    """
    classes = {index.meta.class_names for _, _, index in parts if index.meta.class_names}
    if len(classes) > 1:
        different = " and ".join(str(list(names)) for names in sorted(classes))
        raise ConfigError(f"the data sets of the mixture {name} have different classes: {different}")
    shapes = {index.meta.image_shape for _, _, index in parts}
    firsts, shards = [], []
    for _, _, index in parts:
        firsts.append(len(shards))
        shards += index.shards
    return ShardIndex(
        name=name,
        shards=tuple(shards),
        offsets=JoinedOffsets(tuple(index.offsets for _, _, index in parts), tuple(firsts)),
        meta=DatasetMeta(class_names=classes.pop() if classes else (), image_shape=shapes.pop() if len(shapes) == 1 else None),
        sources=tuple(MixedSource(name=part, num_shards=len(index.shards), weight=weight) for part, weight, index in parts),
    )


def _weight(text: str) -> Fraction:
    """A number with a point or an exponent, exactly; an exponent of a thousand digits would take all memory."""
    number = Decimal(text)
    if number and abs(number.adjusted()) > _MOST_DIGITS:
        raise ValueError(f"{text:.40} is no weight")
    return Fraction(number)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no weight")


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object, of which a plain reader would keep the last of two equal keys and say nothing."""
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is named twice")
    return dict(pairs)
