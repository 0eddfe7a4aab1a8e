"""Telling the person who started a job how far it is: a bar in a terminal, plain lines everywhere else."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from pipeline.telemetry.rates import RateWindow

TEXT_WIDTH = 74
"""Columns left to the words beside the bar; in 80 columns all of them still show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressPoint:
    """How far a job is at one moment."""

    done: int
    """Units done, those of earlier runs that this one continues included; 0 to total."""
    total: int
    """Units when finished, at least 1."""
    images_per_s: float | None = None
    """Speed of this run; None while unknown."""
    loss: float | None = None
    """Latest training loss."""
    data_wait_share: float | None = None
    """Share of the trainers' time spent waiting for data, 0 to 1."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: Naming field and value.
        """
        if self.total < 1:
            raise ValueError(f"got total {self.total}, expected at least 1")
        if not 0 <= self.done <= self.total:
            raise ValueError(f"got done {self.done}, expected 0 to {self.total}")
        if self.data_wait_share is not None and not 0 <= self.data_wait_share <= 1:
            raise ValueError(f"got data_wait_share {self.data_wait_share}, expected 0 to 1")


class ProgressReporter:
    """Shows progress as it is told; asks nobody, starts no thread, and writes whole lines that are flushed at once.

    Args:
        title: First word of every line (`train`, `generate`).
        unit: What done and total count (`step`, `row`).
        interval_s: Least seconds between plain lines; the bar moves with every update.
        stream: Where to write. A terminal gets the bar; a file or pipe gets lines.
        clock: Seconds that never run backwards.
    """

    def __init__(
        self,
        title: str,
        unit: str,
        *,
        interval_s: float = 5.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._unit = unit
        self._interval_s = interval_s
        self._stream = sys.stdout if stream is None else stream
        self._clock = clock
        self._pace = RateWindow()
        self._latest: str | None = None
        self._written: str | None = None
        self._written_at_s = -float("inf")
        self._bar = _bar(self._stream)
        self._task = None if self._bar is None else self._bar.add_task(title, total=None, text="")

    def update(self, point: ProgressPoint) -> None:
        """Show the point: at once in a terminal, otherwise if the interval has passed since the last line."""
        now_s = self._clock()
        self._pace.observe(now_s, point.done)
        text = describe(point, self._unit, self._eta_s(point))
        if self._bar is not None and self._task is not None:
            self._bar.start()
            self._bar.update(self._task, completed=point.done, total=point.total, text=text, refresh=True)
            return
        self._latest = f"{self._title}  {text}"
        if now_s - self._written_at_s >= self._interval_s:
            self._write(now_s)

    def close(self) -> None:
        """Show the last point if it was held back, and leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
        elif self._latest is not None and self._latest != self._written:
            self._write(self._clock())

    def __enter__(self) -> Self:
        """The reporter itself; it is closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close, whatever happened."""
        self.close()

    def _write(self, now_s: float) -> None:
        self._stream.write(f"{self._latest}\n")
        self._stream.flush()
        self._written, self._written_at_s = self._latest, now_s

    def _eta_s(self, point: ProgressPoint) -> float | None:
        if point.done == point.total:
            return 0.0
        pace = self._pace.per_second()
        return (point.total - point.done) / pace if pace else None


def describe(point: ProgressPoint, unit: str, eta_s: float | None) -> str:
    """One line about a point: `step 400/1200  33%  412 images/s  loss 0.0432  wait 3%  ETA 0:01:12`.

    What is not known is left out; an unknown ETA is a dash. The percentage is rounded down: 100% means finished.
    """
    fields = [f"{unit} {point.done}/{point.total}", f"{point.done * 100 // point.total}%"]
    if point.images_per_s is not None:
        fields.append(
            f"{point.images_per_s:.0f} images/s" if point.images_per_s >= 10 else f"{point.images_per_s:.2g} images/s"
        )
    if point.loss is not None:
        fields.append(f"loss {point.loss:.4f}")
    if point.data_wait_share is not None:
        fields.append(f"wait {point.data_wait_share:.0%}")
    fields.append(f"ETA {'-' if eta_s is None else _clock_text(eta_s)}")
    return "  ".join(fields)


def _clock_text(duration_s: float) -> str:
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _bar(stream: TextIO) -> Progress | None:
    """A rich bar if the stream is a terminal that can draw one.

    The stream is asked itself: rich believes FORCE_COLOR and the like, which CI systems set for log files.
    """
    console = Console(file=stream)
    if not stream.isatty() or console.is_dumb_terminal:
        return None
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=max(6, min(40, console.width - TEXT_WIDTH))),
        TextColumn("{task.fields[text]}", markup=False),
    )
    # auto_refresh is what would start a thread.
    return Progress(*columns, console=console, auto_refresh=False)
