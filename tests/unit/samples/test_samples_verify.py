import io
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sample_makers import SPEC, fill, finished_set, part, png

from pipeline import storage
from pipeline.errors import PermanentStorageError
from pipeline.samples import PartRange, PartRows, SampleSet, encode_part, open_ranges, verify


def test_a_whole_set_is_found_whole(set_url: str):
    finished_set(set_url)
    seen: list[tuple[int, int]] = []
    report = verify(set_url, lambda done, total: seen.append((done, total)))
    assert report.ok
    assert (report.rows, report.goal, report.parts, report.finished) == (25, 25, 3, True)
    assert report.label_counts == {0: 9, 1: 8, 2: 8}
    assert report.image_size == (6, 6)
    assert report.size_bytes == sum(found.size for found in storage.list_objects(storage.join(set_url, "data")))
    assert seen == [(10, 25), (20, 25), (25, 25)]
    assert report.describe().endswith("ok: no gap, no duplicate; every digest, image and provenance as it should be")


def test_unlabeled_samples_are_counted(set_url: str):
    samples = SampleSet(set_url)
    samples.open(SPEC)
    samples.commit(0, part(PartRange(0, 4), labeled=False), 4)
    samples.publish(4)
    report = verify(set_url)
    assert report.ok
    assert report.label_counts == {None: 4}


def test_an_unfinished_set_is_told_with_its_numbers(set_url: str):
    samples = SampleSet(set_url)
    samples.open(SPEC, num_samples=25)
    empty = verify(set_url)
    assert (empty.rows, empty.goal, empty.finished, empty.ok, empty.problems) == (0, 25, False, False, ())
    fill(samples, open_ranges(25, 10, [])[1:])
    storage.put_once(storage.join(set_url, "data/part-000000000000.parquet"), part(PartRange(0, 10)))
    report = verify(set_url)
    assert (report.rows, report.goal, report.finished, report.ok, report.problems) == (15, 25, False, False, ())
    assert "15 of 25 rows in 2 parts" in report.describe()
    assert "unfinished" in report.describe()


def test_a_folder_that_is_no_set_is_refused(set_url: str):
    with pytest.raises(PermanentStorageError, match="no sample set"):
        verify(set_url)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "set"
    finished_set(str(folder), 12, 5)
    return folder


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "set"))


def problems_of(folder: Path) -> str:
    report = verify(str(folder))
    assert not report.ok
    assert all("\n" not in problem for problem in report.problems)
    return "\n".join(report.problems)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_in_any_byte_is_found(damaged: Path, data: st.DataObject):
    names = ["manifest.json", "run.json", *sorted(f"data/{file.name}" for file in (damaged / "data").iterdir())]
    file = damaged / data.draw(st.sampled_from(names))
    good = file.read_bytes()
    bad = bytearray(good)
    match data.draw(st.sampled_from(["flip", "cut", "grow", "insert", "empty"])):
        case "flip":
            bad[data.draw(st.integers(0, len(bad) - 1))] ^= data.draw(st.integers(1, 255))
        case "cut":
            del bad[data.draw(st.integers(0, len(bad) - 1)) :]
        case "grow":
            bad += data.draw(st.binary(min_size=1, max_size=9))
        case "insert":
            bad.insert(data.draw(st.integers(0, len(bad))), data.draw(st.integers(0, 255)))
        case _:
            bad.clear()
    file.write_bytes(bad)
    try:
        report = verify(str(damaged))
        assert not report.ok
        assert report.problems
        assert any(file.name in problem for problem in report.problems)
    finally:
        file.write_bytes(good)
    assert verify(str(damaged)).ok


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_in_any_letter_of_a_commit_is_found(damaged: Path, data: st.DataObject):
    commits = sorted((damaged / "commits").iterdir())
    commit = data.draw(st.sampled_from(commits))
    position = data.draw(st.integers(0, len(commit.name) - 1))
    letter = data.draw(st.sampled_from("0123456789abcdefx-").filter(lambda letter: letter != commit.name[position]))
    renamed = commit.with_name(commit.name[:position] + letter + commit.name[position + 1 :])
    commit.rename(renamed)
    try:
        assert "commit" in problems_of(damaged)
    finally:
        renamed.rename(commit)
    assert verify(str(damaged)).ok


def test_a_lost_part_is_found(damaged: Path):
    (damaged / "data" / "part-000000000005.parquet").unlink()
    assert "data/part-000000000005.parquet: read_bytes: no such object" in problems_of(damaged)


def test_a_lost_commit_is_found(damaged: Path):
    next((damaged / "commits").glob("000000000005-*")).unlink()
    problems = problems_of(damaged)
    assert "not committed, 000000000005-000000000009" in problems
    assert "no part for rows 5..9 of a published set" in problems
    assert "part-000000000005.parquet: got a stray file" in problems


@pytest.mark.parametrize(
    "name", ["part-000000000012.parquet", "part-000000000003.parquet", "part-000000000000.tar", "x.parquet"]
)
def test_stray_files_are_found(damaged: Path, name: str):
    (damaged / "data" / name).write_bytes(part(PartRange(12, 3)))
    assert f"data/{name}: got a stray file" in problems_of(damaged)


def test_stray_files_in_subfolders_are_found(damaged: Path):
    for folder in ("data", "commits"):
        (damaged / folder / "more").mkdir()
        (damaged / folder / "more" / "x.parquet").write_bytes(b"x")
    problems = problems_of(damaged)
    assert "data/more/x.parquet: got a stray file" in problems
    assert "more/x.parquet" in problems.replace("data/more/x.parquet", "")


def test_what_a_killed_writer_left_aside_is_no_problem(damaged: Path):
    (damaged / "data" / ".part-000000000000.parquet.0123456789abcdef.partial").write_bytes(b"half")
    assert verify(str(damaged)).ok


def test_a_commit_with_content_is_found(damaged: Path):
    next((damaged / "commits").glob("000000000005-*")).write_bytes(b"x")
    assert "got 1 bytes, expected an empty object" in problems_of(damaged)


def test_a_second_commit_for_a_row_is_found(damaged: Path):
    SampleSet(str(damaged)).commit(3, part(PartRange(3, 4)), 4)
    assert "two commits for row 3" in problems_of(damaged)


def test_a_lost_run_json_is_found(damaged: Path):
    (damaged / "run.json").unlink()
    assert "run.json" in problems_of(damaged)


def test_a_run_json_of_another_run_is_found(damaged: Path, tmp_path: Path):
    SampleSet(str(tmp_path / "other")).open({**SPEC, "seed": 8})
    shutil.copy(tmp_path / "other" / "run.json", damaged / "run.json")
    problems = problems_of(damaged)
    assert "manifest.json: got the digest" in problems
    assert problems.count("got a provenance other than run.json") == 3


def test_a_lost_manifest_is_an_unfinished_set(damaged: Path):
    (damaged / "manifest.json").unlink()
    report = verify(str(damaged))
    assert (report.finished, report.ok, report.rows, report.goal) == (False, False, 12, 12)


def forged_set(folder: Path, images: list[bytes], **changes: object) -> Path:
    """A set whose one part has the right digest and the wrong content."""
    samples = SampleSet(str(folder))
    samples.open(SPEC)
    samples.commit(0, encode_part(PartRows(**{"first": 0, "images": images, **changes}), SPEC), len(images))  # type: ignore[arg-type]
    samples.publish(len(images))
    return folder


def truncated(image: bytes) -> bytes:
    return image[: len(image) // 2]


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 10, 10)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    "image", [b"", b"text", truncated(png(1, 64)), truncated(jpeg()), png(1)[:-12].replace(b"IDAT", b"IDAX")]
)
def test_an_image_that_does_not_decode_is_found(tmp_path: Path, image: bytes):
    problems = problems_of(forged_set(tmp_path / "set", [png(0), image, png(2)]))
    assert "part-000000000000.parquet: row 1: got no readable image" in problems


def test_an_image_of_another_size_is_found(tmp_path: Path):
    problems = problems_of(forged_set(tmp_path / "set", [png(0), png(1, 7), png(2)]))
    assert "row 1: got an image of 7x7 pixels, expected 6x6" in problems


def test_rows_of_other_indices_are_found(tmp_path: Path):
    assert "indices 1..3" in problems_of(forged_set(tmp_path / "set", [png(0), png(1), png(2)], first=1))


def test_many_problems_are_bounded(tmp_path: Path):
    report = verify(str(forged_set(tmp_path / "set", [b"x"] * 150)))
    assert len(report.problems) == 101
    assert report.problems[-1] == "and 50 more problems"


def test_several_processes_find_what_one_finds_in_the_same_order(tmp_path: Path):
    folder = tmp_path / "set"
    samples = SampleSet(str(folder))
    samples.open(SPEC, num_samples=60)
    fill(samples, open_ranges(30, 5, []))
    images = [png(index, 8 if index == 33 else 6) for index in range(30, 40)]  # one larger than the others
    for first in (30, 35):
        rows = PartRows(first=first, images=images[first - 30 : first - 25], labels=[0] * 5)
        samples.commit(first, encode_part(rows, SPEC), 5)
    fill(samples, [PartRange(first, 5) for first in range(40, 60, 5)])
    samples.publish(60)
    for first in (10, 45, 55):
        file = folder / "data" / f"part-{first:012d}.parquet"
        file.write_bytes(file.read_bytes()[:-9])
    (folder / "data" / f"part-{20:012d}.parquet").unlink()
    seen: list[tuple[int, int]] = []
    one = verify(str(folder), processes=1)
    assert verify(str(folder), lambda done, total: seen.append((done, total)), processes=3) == one
    assert len(one.problems) == 5
    assert len(one.broken) == 4
    assert seen == [(done, 60) for done in range(5, 61, 5)]
    assert verify(str(folder), decode_images=False, processes=2) == verify(str(folder), decode_images=False, processes=1)
