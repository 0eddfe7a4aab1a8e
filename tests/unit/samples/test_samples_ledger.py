import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CommitConflict, ConfigError, CorruptDataError, ResumeMismatch
from pipeline.samples import PartRange, PartRecord, commit_name, open_ranges, parse_commit_name
from pipeline.samples.ledger import MAX_OPEN_PARTS


def record(first: int, rows: int) -> PartRecord:
    digest = hashlib.sha256(f"{first} {rows}".encode()).hexdigest()[:32]
    return PartRecord(first=first, rows=rows, size_bytes=100 + rows, xxh3_128=digest)


records = st.builds(
    PartRecord,
    first=st.integers(0, 10**11),
    rows=st.integers(1, 10**9),
    size_bytes=st.integers(0, 10**15 - 1),
    xxh3_128=st.text("0123456789abcdef", min_size=32, max_size=32),
    suffix=st.sampled_from(["parquet", "tar"]),
)


@st.composite
def ledgers(draw: st.DrawFn) -> tuple[int, int, list[PartRecord]]:
    """A run (samples, rows of a part) and some of its parts, committed by earlier runs of other lengths."""
    part_rows = draw(st.integers(1, 12))
    num_samples = 0
    committed: list[PartRecord] = []
    for _ in range(draw(st.integers(1, 4))):
        num_samples += draw(st.integers(1, 40))
        spans = open_ranges(num_samples, part_rows, committed)
        chosen = draw(st.lists(st.booleans(), min_size=len(spans), max_size=len(spans)))
        committed += [record(*span) for span, done in zip(spans, chosen, strict=True) if done]
    return num_samples, part_rows, draw(st.permutations(committed))


@given(records)
def test_commit_names_say_all_and_nothing_else(one: PartRecord):
    assert parse_commit_name(commit_name(one), "commits") == one


@given(records, st.integers(0, 200), st.sampled_from("0123456789abcdefx.-G /"))
def test_a_changed_commit_name_is_another_record_or_none(one: PartRecord, position: int, letter: str):
    name = commit_name(one)
    changed = name[: position % len(name)] + letter + name[position % len(name) + 1 :]
    try:
        read = parse_commit_name(changed, "commits")
    except CorruptDataError:
        return
    assert commit_name(read) == changed
    assert (read == one) == (changed == name)


@given(st.lists(records, max_size=20))
def test_names_sort_as_rows_do(several: list[PartRecord]):
    by_name = sorted(several, key=commit_name)
    assert [one.first for one in by_name] == sorted(one.first for one in several)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "000000000000-000000000009.10",
        f"000000000009-000000000000.10.{'a' * 64}.parquet",
        f"000000000000-000000000009.010.{'a' * 64}.parquet",
        f"000000000000-000000000009.10.{'A' * 64}.parquet",
        f"0-9.10.{'a' * 64}.parquet",
        f"00000000000٣-000000000009.10.{'a' * 64}.parquet",
        f"000000000000-000000000009.10.{'a' * 64}",
        f"000000000000-000000000009.10.{'a' * 64}.parquet\n",
    ],
)
def test_other_names_are_refused_by_name(name: str):
    with pytest.raises(CorruptDataError, match="expected <first>-<last>"):
        parse_commit_name(name, "commits/x")


@given(ledgers())
def test_open_and_committed_are_exactly_all_rows(ledger: tuple[int, int, list[PartRecord]]):
    num_samples, part_rows, committed = ledger
    spans = open_ranges(num_samples, part_rows, committed)
    rows = [row for span in spans for row in range(span.first, span.first + span.rows)]
    rows += [row for one in committed for row in range(one.first, one.last + 1)]
    assert sorted(rows) == list(range(num_samples))


@given(ledgers())
def test_open_ranges_are_cut_at_multiples_and_in_order(ledger: tuple[int, int, list[PartRecord]]):
    num_samples, part_rows, committed = ledger
    spans = open_ranges(num_samples, part_rows, committed)
    assert spans == sorted(spans)
    for span in spans:
        assert span.first // part_rows == (span.first + span.rows - 1) // part_rows
    borders = {one.first for one in committed} | {num_samples}
    for span in spans:
        stop = span.first + span.rows
        assert stop % part_rows == 0 or stop in borders, "a part is shorter than it must be"


@given(ledgers(), st.data())
def test_any_subset_done_leaves_the_other_ranges_as_they_were(ledger: tuple[int, int, list[PartRecord]], data: st.DataObject):
    num_samples, part_rows, committed = ledger
    spans = open_ranges(num_samples, part_rows, committed)
    done = [span for span in spans if data.draw(st.booleans())]
    rest = open_ranges(num_samples, part_rows, [*committed, *(record(*span) for span in done)])
    assert rest == [span for span in spans if span not in done]


@given(ledgers(), st.integers(1, 50))
def test_raising_the_number_keeps_the_parts_that_are_there(ledger: tuple[int, int, list[PartRecord]], more: int):
    num_samples, part_rows, committed = ledger
    committed = [*committed, *(record(*span) for span in open_ranges(num_samples, part_rows, committed))]
    assert open_ranges(num_samples, part_rows, committed) == []
    spans = open_ranges(num_samples + more, part_rows, committed)
    assert spans[0].first == num_samples
    assert sum(span.rows for span in spans) == more


def test_an_example():
    assert open_ranges(25, 10, []) == [(0, 10), (10, 10), (20, 5)]
    assert open_ranges(25, 10, [record(10, 10)]) == [(0, 10), (20, 5)]
    assert open_ranges(40, 10, [record(20, 5)]) == [(0, 10), (10, 10), (25, 5), (30, 10)]
    assert open_ranges(10, 100, []) == [PartRange(first=0, rows=10)]


@given(ledgers(), st.data())
def test_two_commits_for_one_row_are_a_conflict(ledger: tuple[int, int, list[PartRecord]], data: st.DataObject):
    num_samples, part_rows, committed = ledger
    committed = [*committed, *(record(*span) for span in open_ranges(num_samples, part_rows, committed))]
    first = data.draw(st.integers(0, num_samples - 1))
    twice = PartRecord(first=first, rows=data.draw(st.integers(1, num_samples - first)), size_bytes=1, xxh3_128="0" * 32)
    with pytest.raises(CommitConflict, match="expected one"):
        open_ranges(num_samples, part_rows, data.draw(st.permutations([*committed, twice])))


def test_more_than_asked_for_is_a_mismatch():
    with pytest.raises(ResumeMismatch, match="got 15 samples to make, expected at least the 20 committed"):
        open_ranges(15, 10, [record(0, 10), record(10, 10)])


@pytest.mark.parametrize(("num_samples", "part_rows"), [(0, 10), (-1, 10), (10**12 + 1, 10), (10, 0), (10, -3)])
def test_numbers_out_of_range_are_named(num_samples: int, part_rows: int):
    with pytest.raises(ConfigError, match="num_samples" if part_rows > 0 else "part_rows"):
        open_ranges(num_samples, part_rows, [])


@pytest.mark.parametrize(
    "fields",
    [
        {"first": -1},
        {"rows": 0},
        {"first": 10**12},
        {"size_bytes": -1},
        {"xxh3_128": "a" * 31},
        {"xxh3_128": "A" * 32},
        {"suffix": "zip"},
    ],
)
def test_a_record_that_cannot_be_is_refused(fields: dict[str, object]):
    with pytest.raises(ConfigError, match="PartRecord"):
        PartRecord(**({"first": 0, "rows": 1, "size_bytes": 1, "xxh3_128": "a" * 32} | fields))  # type: ignore[arg-type]


def test_more_parts_than_a_job_can_hold_are_refused_at_once():
    refused = "got 1,000,000,000,000 in parts of 1,000 rows, 1,000,000,000 parts to make, expected at most 10,000,000; raise"
    begin = time.process_time()  # which grows with what is done here, whatever else the machine does
    with pytest.raises(ConfigError, match=refused):
        open_ranges(10**12, 1000, [])
    assert time.process_time() - begin < 5
    with pytest.raises(ConfigError, match="10,000,001 parts to make"):
        open_ranges(2 * MAX_OPEN_PARTS + 1, 2, [])
    with pytest.raises(ConfigError, match="10,000,001 parts to make"):  # the committed one has split one of them
        open_ranges(10 * MAX_OPEN_PARTS, 10, [record(13, 4)])
    assert len(open_ranges(10**12, 10**8, [record(0, 10)])) == 10**4
    assert len(open_ranges(10**12, 1000, [record(0, 10**12 - 5000)])) == 5
