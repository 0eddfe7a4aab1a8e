"""What it means to declare a metric: one frozen value that says its name, its meaning and how workers' numbers combine."""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

PREFIX = "swissroll_"
"""Every metric of this project starts with this, so that one query finds them all."""

Kind: TypeAlias = Literal["counter", "gauge"]
Combine: TypeAlias = Literal["sum", "max", "mean", "last"]
Source: TypeAlias = Literal["workers", "committed", "hub"]
JobKind: TypeAlias = Literal["train", "generate"]

_BASE_UNITS = ("seconds", "bytes", "ratio")
"""Units that Prometheus wants in the name; a count of things (images, parts, steps) carries the thing's name instead."""

_SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class SeriesKey(NamedTuple):
    """One time series: a metric with one value for each of its labels. Small and hashable, made to travel in reports."""

    metric: str
    """Name of a declared metric."""
    labels: tuple[tuple[str, str], ...] = ()
    """(label, value) pairs in the order of the declaration."""

    def __str__(self) -> str:
        """The series as Prometheus writes it: the bare name, or `name{label="value"}`."""
        if not self.labels:
            return self.metric
        pairs = ",".join(f'{label}="{value}"' for label, value in self.labels)
        return f"{self.metric}{{{pairs}}}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric, declared once; checked against the Prometheus naming rules."""

    name: str
    """Full name as it is scraped: prefix, thing, unit, `_total` for a counter."""
    kind: Kind
    """A counter only grows while the job's process lives; a gauge may go anywhere."""
    unit: str
    """seconds, bytes, ratio, or the thing that is counted (images, steps, parts, ...)."""
    help: str
    """One sentence for people who read the scrape."""
    source: Source
    """Who knows the number: workers' reports, committed state (parts and steps that exist), or the hub itself."""
    combine: Combine = "sum"
    """How workers' numbers become one; counters always add up."""
    labels: tuple[str, ...] = ()
    """Label names. Values must come from a small fixed set: never a worker, a node, a path or a time."""
    jobs: tuple[JobKind, ...]
    """Which jobs export it."""

    def __post_init__(self) -> None:
        """Refuse a declaration that breaks the naming rules.

        Raises:
            ValueError: Naming the metric and the rule.
        """
        if not self.name.startswith(PREFIX) or not _SNAKE_CASE.fullmatch(self.name):
            raise ValueError(f"metric name {self.name!r}: expected {PREFIX} and snake_case")
        if (self.kind == "counter") != self.name.endswith("_total"):
            raise ValueError(
                f"metric {self.name}: expected _total at the end of counters and of nothing else, kind is {self.kind}"
            )
        if self.unit in _BASE_UNITS and not self.name.removesuffix("_total").endswith(f"_{self.unit}"):
            raise ValueError(f"metric {self.name}: expected its unit {self.unit} at the end of the name")
        if self.kind == "counter" and self.combine != "sum":
            raise ValueError(f"metric {self.name}: expected combine sum for a counter, got {self.combine}")
        if not self.help.endswith("."):
            raise ValueError(f"metric {self.name}: expected help to be a sentence, got {self.help!r}")
        if not self.jobs:
            raise ValueError(f"metric {self.name}: expected at least one job that exports it")
        for label in self.labels:
            # Prometheus sets job and instance itself; ours would come out as exported_job.
            if not _SNAKE_CASE.fullmatch(label) or label in ("job", "instance"):
                raise ValueError(f"metric {self.name}: label {label!r} is not snake_case or belongs to Prometheus")

    def series(self, **label_values: str) -> SeriesKey:
        """The key of one time series of this metric, for example `STORAGE_RETRIES.series(operation="read")`.

        Raises:
            ValueError: If the labels given are not exactly those declared.
        """
        if set(label_values) != set(self.labels):
            raise ValueError(f"metric {self.name}: got labels {sorted(label_values)}, expected {sorted(self.labels)}")
        return SeriesKey(self.name, tuple((label, label_values[label]) for label in self.labels))
