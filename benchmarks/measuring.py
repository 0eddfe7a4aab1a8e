"""Measuring cases that run in processes of their own, in turns with a reference: CPU time of the whole process tree."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

# Workers that read ahead are given the time to fill their queues: what is produced between two pauses is what was consumed.
SETTLED_SHARE = 0.15  # of one core, over one look: the background noise of an idle cluster
LOOK_EVERY_S = 0.7
SETTLE_TIMEOUT_S = 60.0
BESIDE_START_S = 3.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Command = list[str]
"""A command line."""


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
        command: A process that answers as `serving.serve` does.
    """

    def __init__(self, command: Command) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, images: int) -> tuple[float, float]:
        """Returns (CPU seconds, wall seconds) an image, over at least so many images."""
        cpu, wall = self._settled_cpu_s(), time.perf_counter()
        seen = self._ask(images)
        wall = time.perf_counter() - wall
        return (self._settled_cpu_s() - cpu) / seen, wall / seen

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate("0\n")

    def _settled_cpu_s(self) -> float:
        """CPU seconds so far, once the case has come to rest."""
        deadline, before = time.monotonic() + SETTLE_TIMEOUT_S, tree_cpu_s(self._process.pid)
        while time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
            now = tree_cpu_s(self._process.pid)
            if now - before < SETTLED_SHARE * LOOK_EVERY_S:
                return now
            before = now
        raise RuntimeError(f"{self._process.args} did not come to rest within {SETTLE_TIMEOUT_S:.0f} s")

    def _ask(self, images: int) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{images}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args} ended with {self._process.wait()}")
        return int(answer)


def compare(
    reference: Command,
    cases: dict[str, Command],
    *,
    images: int,
    turns: int,
    beside: Mapping[str, Command] = MappingProxyType({}),
) -> tuple[Figures, dict[str, Figures]]:
    """Returns the figures of the reference and of each case, every run of a case standing between two of the reference.

    Args:
        reference: What everything is a multiple of.
        cases: By name; one lives at a time, so that what one does in the background does not burden another.
        images: Images a run.
        turns: Runs of each case.
        beside: What else runs while a case does, by the case's name; its CPU time is not the case's.
    """
    measured = Case(reference)
    measured.run(images // 4)  # everything imported, started and in the page cache
    references: list[tuple[float, float]] = []
    found: dict[str, Figures] = {}
    for name, command in cases.items():
        case = Case(command)
        try:
            case.run(images // 4)
            runs = []
            references.append(measured.run(images))
            for _ in range(turns):
                with _running(beside.get(name)):
                    cpu, wall = case.run(images)
                references.append(measured.run(images))
                around = (references[-2][0] + references[-1][0]) / 2
                runs.append((cpu, cpu / around, 1 / wall))
            found[name] = _medians(runs)
            print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
        except RuntimeError as error:
            print(f"{name} left out: {error}", file=sys.stderr, flush=True)
        case.close()
    measured.close()
    whole = Figures(
        cpu_us=statistics.median(cpu for cpu, _ in references) * 1e6,
        ratio=1.0,
        images_per_s=statistics.median(1 / wall for _, wall in references),
    )
    return whole, found


@contextmanager
def _running(command: Command | None) -> Iterator[None]:
    if command is None:
        yield
        return
    process = subprocess.Popen(command)
    try:
        time.sleep(BESIDE_START_S)
        assert process.poll() is None, f"{command} ended"
        yield
    finally:
        process.kill()
        process.wait()


def machine(packages: list[str]) -> list[str]:
    """Returns lines about this machine and these packages, for the head of a table."""
    model = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return [
        f"machine: {model[0] if model else platform.machine()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}",
        f"load before: {os.getloadavg()[0]:.2f} (the table is worth something only where this is near 0)",
        f"versions: Python {platform.python_version()}, {versions}",
    ]


def tree_cpu_s(root: int | None) -> float:
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


def _medians(runs: list[tuple[float, float, float]]) -> Figures:
    cpu, ratio, rate = (statistics.median(column) for column in zip(*runs, strict=True))
    return Figures(cpu_us=cpu * 1e6, ratio=ratio, images_per_s=rate)
