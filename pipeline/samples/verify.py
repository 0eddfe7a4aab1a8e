"""The proof, from storage alone, that a sample set is what it says: all rows, once each, undamaged, from one run."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline import storage
from pipeline.errors import PermanentStorageError
from pipeline.samples.checks import (
    check_files,
    check_for_people,
    check_goals,
    check_manifest,
    check_origin,
    check_run,
    check_shard_index,
    ledger_and_manifest,
)
from pipeline.samples.findings import Findings
from pipeline.samples.ledger import PartRecord
from pipeline.samples.many_parts import check_parts
from pipeline.samples.obstacles import check_obstacles


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` found."""

    url: str
    """The set's folder."""
    rows: int
    """Rows committed, whose parts were checked."""
    goal: int | None
    """Rows there should be; None where nothing says so."""
    parts: int
    """Parts committed."""
    size_bytes: int
    """Size of these parts."""
    finished: bool
    """Whether the set was published and no further rows were begun."""
    label_counts: dict[int | None, int]
    """Rows by label; None: unlabeled."""
    image_size: tuple[int, int] | None
    """Width and height of every image in pixels; None where none could be decoded."""
    problems: tuple[str, ...]
    """Each in one line; only the first hundred, and then how many more."""
    broken: frozenset[PartRecord] = frozenset()
    """Committed parts whose bytes are not those that were committed."""

    @property
    def ok(self) -> bool:
        """Whether the set is finished and nothing is wrong with it."""
        return self.finished and not self.problems

    def describe(self) -> str:
        """The findings in some lines of text."""
        of = "" if self.goal in (None, self.rows) else f" of {self.goal:,}"
        size = f", {self.image_size[0]}x{self.image_size[1]} pixels" if self.image_size else ""
        lines = [f"{self.rows:,}{of} rows in {self.parts:,} parts, {self.size_bytes:,} bytes{size} ({self.url})"]
        if self.label_counts:
            counts = ", ".join(f"{'none' if label is None else label}: {n:,}" for label, n in self.label_counts.items())
            lines.append(f"rows by label: {counts}")
        if not self.finished:
            lines.append("unfinished: run the job that makes it again, and it will go on")
        lines += [f"problem: {problem}" for problem in self.problems]
        if self.ok:
            lines.append("ok: no gap, no duplicate; every digest, image and provenance as it should be")
        return "\n".join(lines)


def verify(
    url: str,
    progress: Callable[[int, int], None] | None = None,
    *,
    decode_images: bool = True,
    processes: int | None = None,
) -> VerifyReport:
    """What is there and what is wrong with it, from storage alone; one part in the memory of each process at a time.

    Args:
        url: The folder of a sample set.
        progress: Called after each part with the rows checked so far and the rows committed.
        decode_images: Whether to decode every image; without, their bytes are still compared with the digests.
        processes: How many look at parts; unset: one a core for large sets, this one alone for small ones. The report is the
            same whatever their number.

    Raises:
        PermanentStorageError: There is no sample set.
        PermissionDenied: A file may not be read, or a folder not listed: nobody can tell whether the set is damaged.
        TransientStorageError: The store did not answer.
    """
    url = storage.absolute_url(url)
    if not any(storage.exists(storage.join(url, name)) for name in ("run.json", "manifest.json", "commits", "data")):
        raise PermanentStorageError("got no sample set, expected a folder with run.json", url)
    findings = Findings()
    spec, run_sha256 = check_run(url, findings)
    check_origin(url, findings)
    check_obstacles(url, findings)
    records, content = ledger_and_manifest(url, findings)
    manifest, finished = None, False
    if content is not None:
        manifest, finished = check_manifest(url, content, records, run_sha256, findings)
        check_shard_index(url, records, manifest, finished, findings)
        check_for_people(url, manifest, spec, findings)
    total = sum(record.rows for record in records)
    goals = check_goals(url, findings)
    check_files(url, records, spec, finished, findings)
    checked = 0
    for record in check_parts(url, records, spec, findings, decode_images=decode_images, processes=processes):
        checked += record.rows
        if progress is not None:
            progress(checked, total)
    return VerifyReport(
        url=url,
        rows=total,
        goal=total if finished else max(goals, default=None),
        parts=len(records),
        size_bytes=sum(record.size_bytes for record in records),
        finished=finished,
        label_counts=dict(sorted(findings.labels.items(), key=lambda item: (item[0] is None, item[0] or 0))),
        image_size=findings.image_size,
        problems=findings.all_problems(),
        broken=frozenset(findings.broken),
    )
