"""Which class each sample is asked for."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.families import stream_key, uniform

_LAST = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """A function from a sample's number to a class."""

    classes: tuple[int, ...] = ()
    """The classes that occur; none for a model without labels. Without counts and weights, sample i gets the (i mod n)-th."""
    counts: tuple[int, ...] = ()
    """So many samples of each class, one class after another."""
    weights: tuple[float, ...] = ()
    """Relative frequency of each class; which class a sample gets is drawn from the seed and its number."""

    def __post_init__(self) -> None:
        for name, values in (("counts", self.counts), ("weights", self.weights)):
            if values and (len(values) != len(self.classes) or not all(0 < value < math.inf for value in values)):
                raise ConfigError(f"labels: got the {name} {list(values)}, expected a positive one for each class")
        if not math.isfinite(sum(self.weights)):
            raise ConfigError(f"labels: got the weights {list(self.weights)}, expected a sum below 1.8e308")

    @property
    def num_samples(self) -> int | None:
        """How many samples there can be; None without limit."""
        return sum(self.counts) or None

    def of(self, seed: int, first: int, rows: int) -> NDArray[np.int64] | None:
        """Returns the classes of samples [first, first + rows), int64 [rows]; None for a model without labels.

        Args:
            seed: The run's seed; used by weights only.
            first: Number of the first sample.
            rows: How many. Past the last sample of the counts, the last class goes on.
        """
        if not self.classes:
            return None
        samples = np.arange(first, first + rows)
        if self.counts:
            # Summed as Python's integers, which cannot overflow; no sample's number reaches a border beyond int64.
            borders = np.array([min(border, _LAST) for border in itertools.accumulate(self.counts)])
            places = np.minimum(np.searchsorted(borders, samples, side="right"), len(self.classes) - 1)
        elif self.weights:
            borders = np.cumsum(self.weights)
            drawn = uniform(stream_key(seed, "generation label"), torch.from_numpy(samples), 0, ()).numpy()
            places = np.minimum(np.searchsorted(borders / borders[-1], drawn, side="right"), len(self.classes) - 1)
        else:
            places = samples % len(self.classes)
        return np.asarray(self.classes, np.int64)[places]


def parse_labels(text: str, num_classes: int) -> LabelRule:
    """Returns the rule that a text means.

    Args:
        text: "all", one class ("3") or several to cycle through ("0,1,2"), counts ("0:500,1:300"), or weights ("0=0.7,1=0.3").
        num_classes: Classes the model knows; 0 for a model without labels, which takes only "all" and gets none.

    Raises:
        ConfigError: The text is of another form or names a class the model does not know.
    """
    if text == "all":
        return LabelRule(classes=tuple(range(num_classes)))
    if not num_classes:
        raise ConfigError(f"labels: got {text!r}, but the checkpoint's model has no labels; expected all")
    mark = next((mark for mark in ":=" if mark in text), "")
    try:
        pairs = [part.split(mark) if mark else [part, "1"] for part in text.split(",")]
        labels = tuple(int(label) for label, _ in pairs)
        numbers = [value for _, value in pairs]
        rule = LabelRule(
            classes=labels,
            counts=tuple(map(int, numbers)) if mark == ":" else (),
            weights=tuple(map(float, numbers)) if mark == "=" else (),
        )
    except ValueError:
        forms = "all, one class, classes separated by commas, counts (0:500,1:300) or weights (0=0.7,1=0.3)"
        raise ConfigError(f"labels: got {text!r}, expected {forms}") from None
    for label in labels:
        if not 0 <= label < num_classes:
            raise ConfigError(f"labels: got class {label}, expected 0 to {num_classes - 1}")
    return rule
