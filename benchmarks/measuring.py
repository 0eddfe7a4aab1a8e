"""Measuring cases that run in processes of their own, in turns with a reference: CPU time of the whole process tree."""

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

# Long enough for workers that read ahead to fill their queues: what is produced between two pauses is what was consumed.
SETTLE_S = 0.7
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Batches = Callable[[], Iterator[int]]
"""Makes an endless iterator over batches; it yields the number of images in each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one case took; medians over the turns."""

    cpu_us: float
    """CPU microseconds an image, user and system, of the case's process and all its descendants."""
    ratio: float
    """cpu_us as a multiple of the reference run before and after it."""
    images_per_s: float
    """Images a second of wall time."""


class Case:
    """One case in a process of its own, which waits between measurements.

    Args:
        batches: What is measured; a function or object that can be sent to another process.
    """

    def __init__(self, batches: Batches) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(batches, there))
        self._process.start()
        there.close()

    def run(self, images: int) -> tuple[float, float]:
        """Returns (CPU seconds, wall seconds) an image, over at least so many images."""
        time.sleep(SETTLE_S)
        cpu, wall = _tree_cpu_s(self._process.pid), time.perf_counter()
        self._here.send(images)
        seen = self._here.recv()
        wall = time.perf_counter() - wall
        time.sleep(SETTLE_S)
        return (_tree_cpu_s(self._process.pid) - cpu) / seen, wall / seen

    def close(self) -> None:
        """Ends the process."""
        self._here.send(0)
        self._process.join()


def compare(reference: Batches, cases: dict[str, Batches], *, images: int, turns: int) -> tuple[Figures, dict[str, Figures]]:
    """Returns the figures of the reference and of each case, every run of a case standing between two of the reference.

    Args:
        reference: What everything is a multiple of.
        cases: By name.
        images: Images a run.
        turns: Runs of each case.
    """
    measured = Case(reference)
    others = {name: Case(batches) for name, batches in cases.items()}
    references: list[tuple[float, float]] = []
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in cases}
    for case in (measured, *others.values()):
        case.run(images // 4)  # everything imported, started and in the page cache
    for _ in range(turns):
        references.append(measured.run(images))
        for name, case in others.items():
            cpu, wall = case.run(images)
            references.append(measured.run(images))
            around = (references[-2][0] + references[-1][0]) / 2
            found[name].append((cpu, cpu / around, 1 / wall))
    for case in (measured, *others.values()):
        case.close()
    whole = Figures(
        cpu_us=statistics.median(cpu for cpu, _ in references) * 1e6,
        ratio=1.0,
        images_per_s=statistics.median(1 / wall for _, wall in references),
    )
    return whole, {name: _medians(runs) for name, runs in found.items()}


def machine(packages: list[str]) -> list[str]:
    """Returns lines about this machine and these packages, for the head of a table."""
    model = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return [
        f"machine: {model[0] if model else platform.machine()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}",
        f"load before: {os.getloadavg()[0]:.2f} (the table is worth something only where this is near 0)",
        f"versions: Python {platform.python_version()}, {versions}",
    ]


def _medians(runs: list[tuple[float, float, float]]) -> Figures:
    cpu, ratio, rate = (statistics.median(column) for column in zip(*runs, strict=True))
    return Figures(cpu_us=cpu * 1e6, ratio=ratio, images_per_s=rate)


def _serve(batches: Batches, pipe: Connection) -> None:
    endless = batches()
    while wanted := pipe.recv():
        seen = 0
        while seen < wanted:
            seen += next(endless)
        pipe.send(seen)
    endless.close()  # pyright: ignore[reportAttributeAccessIssue]  # all cases are generators


def _tree_cpu_s(root: int | None) -> float:
    """User and system seconds of a process and its living descendants, and of those that were waited for."""
    table: dict[int, tuple[int, int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended since it was listed
        table[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    family = {root}
    while more := {pid for pid, (parent, _) in table.items() if parent in family} - family:
        family |= more
    return sum(ticks for pid, (_, ticks) in table.items() if pid in family) / TICKS_PER_S
