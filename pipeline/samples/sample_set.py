"""A sample set that is being made: opened for a spec, filled part by part, published when it is complete."""

import bisect
from collections.abc import Mapping

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError, ResumeMismatch
from pipeline.samples.free_folder import refuse_used_folder
from pipeline.samples.goals import GOALS_NAME, goal_name, goals_of
from pipeline.samples.ledger import (
    MAX_SAMPLES,
    PartRecord,
    PartSuffix,
    commit_name,
    gaps,
    in_order,
    parse_commit_name,
    part_digest,
    part_name,
)
from pipeline.samples.manifest import Manifest, load_manifest
from pipeline.samples.part import rows_in
from pipeline.samples.publishing import is_whole, publish_parts
from pipeline.samples.run_spec import parse_spec, refuse_other_spec, run_url, spec_bytes
from pipeline.samples.uncommitted import uncommitted_files, uncommitted_record


class SampleSet:
    """The sample set in one folder. All methods may be repeated, and called by several writers at once.

    Args:
        url: The folder, on any store that can put an object once.
    """

    def __init__(self, url: str) -> None:
        self.url = storage.absolute_url(url)
        self.data_url = storage.join(url, "data")
        self.commits_url = storage.join(url, "commits")

    def open(self, spec: Mapping[str, object], *, num_samples: int | None = None) -> None:
        """Claim the folder for a run, or find that it is this run's already.

        Args:
            spec: All that decides the samples' bytes, as JSON values; not the number of samples, which may grow.
            num_samples: Rows wanted; noted so that an unfinished set can be told from a finished one.

        Raises:
            ResumeMismatch: The folder belongs to another run; names the fields that differ.
            CorruptDataError: run.json is damaged.
            CommitConflict: Two commits claim the same row.
            ConfigError: The folder has no run.json and files under names of a set, the spec holds something that JSON cannot,
                or `num_samples` is out of range.
        """
        if num_samples is not None and not 0 < num_samples <= MAX_SAMPLES:
            raise ConfigError(f"num_samples: got {num_samples}, expected 1 to {MAX_SAMPLES}")
        content = spec_bytes(spec)
        self.committed()  # a damaged ledger is refused before anything is written
        refuse_used_folder(self.url)
        if not storage.put_once(run_url(self.url), content):
            refuse_other_spec(self.spec(), spec, run_url(self.url))
        if num_samples is not None:
            storage.put_once(storage.join(self.url, GOALS_NAME, goal_name(num_samples)), b"")

    def check(self, spec: Mapping[str, object]) -> None:
        """Refuse a folder that `open` would refuse; writes nothing.

        Raises:
            ResumeMismatch: The folder belongs to another run; names the fields that differ.
            CorruptDataError: run.json is damaged.
            ConfigError: The folder has no run.json and files under names of a set.
        """
        if storage.exists(run_url(self.url)):
            refuse_other_spec(self.spec(), spec, run_url(self.url))
        else:
            refuse_used_folder(self.url)

    def spec(self) -> dict[str, object]:
        """The spec of the run that this folder belongs to.

        Raises:
            PermanentStorageError: The folder belongs to none yet.
            CorruptDataError: run.json is damaged.
        """
        return parse_spec(storage.read_bytes(run_url(self.url)), run_url(self.url))

    def committed(self) -> list[PartRecord]:
        """The committed parts in order of their rows; from one listing, without reading any.

        Raises:
            CorruptDataError: An object in the ledger is no commit.
            CommitConflict: Two commits claim the same row.
        """
        records = []
        for found in storage.list_objects(self.commits_url):
            if found.size:
                raise CorruptDataError(f"got a commit of {found.size} bytes, expected an empty object", found.url)
            records.append(parse_commit_name(found.url.rpartition("/")[2], found.url))
        return in_order(records, self.commits_url)

    def commit(self, first: int, data: bytes | memoryview, rows: int, suffix: PartSuffix = "parquet") -> PartRecord:
        """The record of the part that begins with row `first` from now on.

        If one is there already, whether from this writer before it was killed or from another one, it stays, and its own
        digest is recorded, provided that it proves itself. It may have another number of rows than asked for, where the other
        writer was to make another number of samples, and other bytes, where that one had other versions of the libraries.

        Args:
            first: Index of the first row: a multiple of the part size, or the row after a committed part.
            data: The part, from `encode_part`.
            rows: Number of rows in it.
            suffix: What kind of file it is.

        Raises:
            ValueError: `data` does not have `rows` rows.
            CorruptDataError: `data`, or what is there under its name, is not that part, or is damaged.
            StorageError: The store failed; the part may or may not be committed, and the call can be repeated.
        """
        part_url = storage.join(self.data_url, part_name(first, suffix))
        if (found_rows := rows_in(data, part_url)) != rows:
            raise ValueError(f"got a part of {found_rows} rows, expected {rows} ({part_url})")
        record = PartRecord(first=first, rows=rows, size_bytes=len(data), xxh3_128=part_digest(data), suffix=suffix)
        if not storage.put_once(part_url, data):
            found = storage.read_bytes(part_url)
            if found != data:
                record = uncommitted_record(first, found, suffix, part_url, self.spec())
        self._note(record)
        return record

    def grows(self) -> bool:
        """Whether a job was asked for more rows than were published: what it put before it was killed is no stray file."""
        try:
            return max(goals_of(self.url).numbers, default=0) > load_manifest(self.url).num_samples
        except CorruptDataError:
            return False

    def adopt(self, below: int | None = None) -> list[PartRecord]:
        """Commit the parts that killed writers had put and not yet committed; returns the records of these.

        Only files that prove themselves to the byte are taken. Those that do not, are no part of this set, or overlap
        committed rows, are left alone: `verify` reports them, and so does `commit` when it meets one under the name it wants.
        With `below` only parts that begin before that row are looked at.
        """
        committed = self.committed()
        firsts = [record.first for record in committed]
        adopted: list[PartRecord] = []
        for file in uncommitted_files(self.data_url, committed):
            if below is not None and file.first >= below:
                continue
            try:
                record = uncommitted_record(file.first, storage.read_bytes(file.url), file.suffix, file.url, self.spec())
            except CorruptDataError:
                continue
            following = bisect.bisect_right(firsts, record.first)
            if following < len(committed) and committed[following].first <= record.last:
                continue
            if adopted and adopted[-1].last >= record.first:
                continue
            self._note(record)
            adopted.append(record)
        return adopted

    def is_whole(self, num_samples: int) -> bool:
        """Whether rows 0..num_samples-1 are committed, none beyond, and `publish` would find all in place and put nothing.

        Raises:
            ResumeMismatch: More rows are committed.
            CommitConflict: Two commits claim the same row.
            CorruptDataError: An object in the ledger is no commit.
            StorageError: The store could not be read.
        """
        records = self.committed()
        return not gaps(num_samples, records, self.commits_url) and is_whole(self.url, num_samples, records)

    def publish(self, num_samples: int) -> Manifest:
        """The manifest of rows 0..num_samples-1, put in place for readers together with the dataset card.

        Raises:
            ResumeMismatch: Rows are missing, or more than `num_samples` rows are committed.
            CommitConflict: Two commits claim the same row.
            CorruptDataError: The first part, which the card shows, is damaged.
        """
        records = self.committed()
        if missing := gaps(num_samples, records, self.commits_url):
            rows = sum(gap.rows for gap in missing)
            raise ResumeMismatch(
                f"got {num_samples - rows} of {num_samples} rows committed, expected all: first gap at row {missing[0].first} "
                f"({self.commits_url})"
            )
        while True:
            manifest = publish_parts(self.url, num_samples, records)
            records = self.committed()
            # Another job may have extended the set while this one slept: never leave a manifest that is behind the ledger.
            total = records[-1].last + 1
            if total == num_samples or gaps(total, records, self.commits_url):
                return manifest
            num_samples = total

    def _note(self, record: PartRecord) -> None:
        storage.put_once(storage.join(self.commits_url, commit_name(record)), b"")
