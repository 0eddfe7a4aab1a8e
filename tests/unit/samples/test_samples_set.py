import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from datasets import load_dataset
from PIL import Image
from sample_makers import SPEC, fill, finished_set, part, png

from pipeline import storage
from pipeline.errors import CommitConflict, ConfigError, CorruptDataError, PermanentStorageError, ResumeMismatch
from pipeline.samples import (
    Manifest,
    PartRange,
    SampleSet,
    canonical_json,
    load_manifest,
    open_ranges,
    read_samples,
    verify,
)


def content(url: str) -> dict[str, bytes]:
    """Every object of a set by its name."""
    return {found.url[len(url) + 1 :]: storage.read_bytes(found.url) for found in storage.list_objects(url, recursive=True)}


def test_a_set_from_start_to_end(set_url: str):
    samples = SampleSet(set_url)
    samples.open(SPEC, num_samples=25)
    assert samples.committed() == []
    fill(samples, open_ranges(25, 10, []))
    assert [(record.first, record.last) for record in samples.committed()] == [(0, 9), (10, 19), (20, 24)]
    manifest = samples.publish(25)
    assert manifest == load_manifest(set_url)
    assert list(manifest.parts) == samples.committed()
    assert [(one.index, one.image, one.label) for one in read_samples(set_url)] == [(i, png(i), i % 3) for i in range(25)]
    assert verify(set_url).ok


def test_repeating_everything_changes_nothing(set_url: str):
    finished_set(set_url)
    before = content(set_url)
    versions = storage.list_objects(set_url, recursive=True)
    samples = finished_set(set_url)
    fill(samples, open_ranges(25, 10, []))
    assert samples.adopt() == []
    assert content(set_url) == before
    assert storage.list_objects(set_url, recursive=True) == versions, "an object was written again"


def test_the_order_and_number_of_writers_do_not_matter(set_url: str):
    finished_set(f"{set_url}-a", 40, 10)
    samples = SampleSet(f"{set_url}-b")
    samples.open(SPEC, num_samples=40)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda span: fill(SampleSet(f"{set_url}-b"), [span]), 3 * open_ranges(40, 10, [])[::-1]))
    samples.publish(40)
    assert content(f"{set_url}-a") == content(f"{set_url}-b")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 8}, "seed: got 8, expected 7"),
        ({"sampler": {"name": "ddim", "steps": 50, "guidance": 1.5}}, "sampler.steps: got 50, expected 20"),
        ({"sampler": {"name": "ddim", "steps": 20, "guidance": 1.5, "eta": 0.0}}, "sampler.eta: got 0.0, expected nothing"),
        ({"sampler": {}}, "sampler.guidance: got nothing, expected 1.5"),
        ({"seed": 7.0}, "seed: got 7.0, expected 7"),
        ({"seed": "7"}, 'seed: got "7", expected 7'),
        ({"labels": [0, 1]}, "labels: got [0, 1], expected [0, 1, 2]"),
        ({"seed": 1, "checkpoint": "a", "labels": [], "sampler": "x"}, "; and 4 more"),
    ],
)
def test_another_spec_is_refused_by_its_fields(set_url: str, changes: dict[str, object], message: str):
    SampleSet(set_url).open(SPEC)
    before = content(set_url)
    with pytest.raises(ResumeMismatch) as caught:
        SampleSet(set_url).open({**SPEC, **changes}, num_samples=99)
    assert message in str(caught.value)
    assert "run.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert content(set_url) == before


def test_the_same_spec_in_another_order_is_the_same(set_url: str):
    SampleSet(set_url).open(SPEC)
    SampleSet(set_url).open(dict(reversed(SPEC.items())) | {"labels": (0, 1, 2)})


def test_parts_without_a_run_are_not_taken_over(set_url: str):
    fill(SampleSet(set_url), [PartRange(0, 5)])
    with pytest.raises(ResumeMismatch, match=r"without run\.json"):
        SampleSet(set_url).open(SPEC)
    assert not storage.exists(storage.join(set_url, "run.json"))


def test_a_damaged_run_json_is_no_mismatch(set_url: str):
    storage.put_once(storage.join(set_url, "run.json"), b'{"seed": 7')
    with pytest.raises(CorruptDataError, match=r"run\.json"):
        SampleSet(set_url).open(SPEC)


def test_a_set_can_grow(set_url: str):
    samples = finished_set(set_url, 25, 10)
    before = content(set_url)
    samples.open(SPEC, num_samples=60)
    spans = open_ranges(60, 10, samples.committed())
    assert spans[0] == (25, 5)
    fill(samples, spans[:2])
    unfinished = verify(set_url)
    assert (unfinished.finished, unfinished.rows, unfinished.goal, unfinished.problems) == (False, 40, 60, ())
    assert len(list(read_samples(set_url))) == 25, "readers follow the manifest"
    fill(samples, spans)
    samples.publish(60)
    after = content(set_url)
    assert verify(set_url).ok
    for name, data in before.items():
        assert name in ("manifest.json", "README.md") or after[name] == data
    with pytest.raises(ResumeMismatch, match="got 25 samples to make, expected at least the 60 committed"):
        samples.publish(25)


def test_publish_refuses_gaps(set_url: str):
    samples = SampleSet(set_url)
    samples.open(SPEC)
    with pytest.raises(ResumeMismatch, match="got 0 of 25 rows"):
        samples.publish(25)
    fill(samples, [PartRange(0, 10), PartRange(20, 5)])
    with pytest.raises(ResumeMismatch, match="got 15 of 25 rows committed, expected all: first gap at row 10"):
        samples.publish(25)
    assert not storage.exists(storage.join(set_url, "manifest.json"))
    with pytest.raises(PermanentStorageError, match=r"manifest\.json"):
        list(read_samples(set_url))


def test_a_part_that_is_there_wins_over_a_later_one(set_url: str):
    """Another device may round otherwise: what was put first stays, and its own digest is committed."""
    samples = SampleSet(set_url)
    samples.open(SPEC)
    other = part(PartRange(0, 10), labeled=False)
    url = storage.join(set_url, "data", "part-000000000000.parquet")
    storage.put_once(url, other)
    record = samples.commit(0, part(PartRange(0, 10)), 10)
    assert record.size_bytes == len(other)
    assert samples.committed() == [record]
    assert storage.read_bytes(url) == other
    samples.publish(10)
    assert verify(set_url).ok


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (b"", "damaged file that nobody committed"),
        (part(PartRange(0, 10))[:500], "damaged file that nobody committed"),
        (part(PartRange(1, 10)), "expected 0..9"),
        (part(PartRange(0, 10), spec={**SPEC, "seed": 8}), "provenance"),
    ],
)
def test_what_is_not_the_part_is_never_committed(set_url: str, there: bytes, message: str):
    samples = SampleSet(set_url)
    samples.open(SPEC)
    storage.put_once(storage.join(set_url, "data", "part-000000000000.parquet"), there)
    with pytest.raises(CorruptDataError, match=message):
        samples.commit(0, part(PartRange(0, 10)), 10)
    assert samples.adopt() == []
    assert samples.committed() == []


@pytest.mark.parametrize(("early", "late"), [(5, 10), (10, 5)])
def test_of_two_jobs_that_would_end_a_part_differently_the_first_wins(set_url: str, early: int, late: int):
    """The number of samples was raised from 25 to 40 while a writer of the first job slept: rows 20..24 against 20..29."""
    samples = SampleSet(set_url)
    samples.open(SPEC, num_samples=40)
    won = samples.commit(20, part(PartRange(20, early)), early)
    assert SampleSet(set_url).commit(20, part(PartRange(20, late)), late) == won
    assert samples.committed() == [won]
    rest = open_ranges(40, 10, samples.committed())
    assert rest == ([(0, 10), (10, 10), (25, 5), (30, 10)] if early == 5 else [(0, 10), (10, 10), (30, 10)])
    fill(samples, rest)
    samples.publish(40)
    assert verify(set_url).ok


def test_a_part_of_another_length_is_a_mistake(set_url: str):
    with pytest.raises(ValueError, match="got a part of 10 rows, expected 9"):
        SampleSet(set_url).commit(0, part(PartRange(0, 10)), 9)
    assert storage.list_objects(set_url, recursive=True) == []


def test_what_a_killed_writer_had_put_is_adopted(set_url: str):
    samples = SampleSet(set_url)
    samples.open(SPEC, num_samples=25)
    fill(samples, [PartRange(0, 10)])
    for first, rows in [(20, 5), (5, 10)]:  # the second overlaps what is committed
        storage.put_once(storage.join(set_url, f"data/part-{first:012d}.parquet"), part(PartRange(first, rows)))
    assert [(record.first, record.rows) for record in samples.adopt()] == [(20, 5)]
    assert open_ranges(40, 10, samples.committed()) == [(10, 10), (25, 5), (30, 10)]
    report = verify(set_url)
    assert len(report.problems) == 1
    assert "part-000000000005.parquet: got a stray file" in report.problems[0]


def test_overlapping_commits_are_a_conflict(set_url: str):
    samples = SampleSet(set_url)
    samples.open(SPEC)
    fill(samples, [PartRange(0, 10), PartRange(5, 10)])  # no writer does this: rows 5.. begin within a part
    for use in [samples.committed, lambda: samples.publish(15), lambda: samples.open(SPEC)]:
        with pytest.raises(CommitConflict, match="row 5"):
            use()


@pytest.mark.parametrize("name", ["x", "commit.tmp", "000000000000-000000000009.10"])
def test_what_is_no_commit_is_named(set_url: str, name: str):
    samples = SampleSet(set_url)
    storage.put_once(storage.join(set_url, "commits", name), b"")
    with pytest.raises(CorruptDataError, match=name):
        samples.committed()


def test_a_late_publisher_does_not_hide_what_another_added(set_url: str, monkeypatch: pytest.MonkeyPatch):
    """A job that sleeps between its look at the ledger and its manifest wakes up after the set was extended."""
    samples = finished_set(set_url, 20, 10)
    look = SampleSet.committed
    slept = []

    def look_then_sleep(self: SampleSet) -> list:
        records = look(self)
        if not slept:
            slept.append(True)
            finished_set(set_url, 40, 10)
        return records

    monkeypatch.setattr(SampleSet, "committed", look_then_sleep)
    assert samples.publish(20).num_samples == 40
    assert load_manifest(set_url).num_samples == 40
    assert "40 generated samples" in storage.read_bytes(storage.join(set_url, "README.md")).decode()


@pytest.mark.parametrize("number", [0, -5, 10**12 + 1])
def test_a_goal_out_of_range_is_refused(set_url: str, number: int):
    with pytest.raises(ConfigError, match=f"num_samples: got {number}"):
        SampleSet(set_url).open(SPEC, num_samples=number)
    assert not storage.exists(set_url)


def test_a_manifest_is_its_bytes(set_url: str):
    manifest = finished_set(set_url).publish(25)
    data = manifest.to_bytes()
    assert Manifest.from_bytes(data, "m") == manifest
    for wrong in [b"", b"{}", b"[]", b"null", b"\xff", data[:-1], data + b" ", data.replace(b":", b": ", 1), b"[" * 100_000]:
        with pytest.raises(CorruptDataError):
            Manifest.from_bytes(wrong, "m")
    with pytest.raises(ConfigError, match="gap of 10 rows at 10"):
        Manifest(num_samples=25, run_sha256="", parts=(manifest.parts[0], manifest.parts[2]))


def test_hugging_face_datasets_shows_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    finished_set(str(tmp_path / "set"))
    rows = load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["index"][:] == list(range(25))
    assert rows["label"][:] == [index % 3 for index in range(25)]
    for index in range(25):
        shown = rows[index]["image"]
        assert isinstance(shown, Image.Image)
        assert shown.tobytes() == Image.open(io.BytesIO(png(index))).tobytes()


def test_two_processes_make_one_set(tmp_path: Path):
    finished_set(str(tmp_path / "a"), 60, 5)
    code = "import sys; from sample_makers import *; finished_set(sys.argv[1], 60, 5)"
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{Path.cwd()}"}
    jobs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "b")], env=environment) for _ in range(2)]
    assert [job.wait() for job in jobs] == [0, 0]
    assert content(str(tmp_path / "a")) == content(str(tmp_path / "b"))


def test_the_provenance_of_parts_is_the_spec(set_url: str):
    samples = finished_set(set_url)
    assert canonical_json(samples.spec()) == canonical_json(SPEC)
