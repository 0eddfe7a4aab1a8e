"""`repair` of the small files of a set: each damaged one is restored, and none that was right is changed to match."""

import json
import shutil
from pathlib import Path

import pytest
from generation_sets import SPEC, commit, content, made, mended
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import CommitConflict, CorruptDataError
from pipeline.generation import repair as repair_module
from pipeline.generation.repair import repair
from pipeline.samples import Origin, PartSuffix, SampleSet, load_origin, verify
from pipeline.shards import found_shards, index_shard, join_shards, open_data, save_index
from pipeline.storage import Fence


def test_a_readable_run_json_of_another_seed_is_restored_and_the_manifest_stays(whole: Path, damaged: Path) -> None:
    run = damaged / "run.json"
    run.write_bytes(run.read_bytes().replace(b'"seed": 0', b'"seed": 1'))
    assert json.loads(run.read_bytes())["generation"]["seed"] == 1
    done = mended(damaged).done
    assert content(damaged) == content(whole)
    assert not any("manifest" in line for line in done)
    assert b'"seed": 1' in (damaged / "quarantine" / "run.json").read_bytes()
    assert verify(str(damaged)).ok


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damaged_byte_of_a_small_file_is_mended(whole: Path, damaged: Path, data: st.DataObject) -> None:
    names = ["run.json", "manifest.json", *(["data/index.json"] if (whole / "data" / "index.json").exists() else [])]
    file = damaged / data.draw(st.sampled_from(names))
    bad = bytearray(file.read_bytes())
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(bad)
    assert mended(damaged).failed == ()
    assert content(damaged) == content(whole)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_line_of_the_manifest_that_the_file_refutes_is_mended(whole: Path, damaged: Path, data: st.DataObject) -> None:
    """Another digit makes another manifest that can be read: what it says must not replace what was committed."""
    file = damaged / "manifest.json"
    text = file.read_text()
    digits = [place for place in range(len(text)) if text[place].isdigit()]
    place = data.draw(st.sampled_from(digits))
    digit = data.draw(st.sampled_from("123456789").filter(lambda digit: digit != text[place]))
    file.write_text(text[:place] + digit + text[place + 1 :])
    assert mended(damaged).failed == ()
    assert content(damaged) == content(whole)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), published=st.booleans())
def test_a_damaged_name_of_a_commit_is_mended(whole: Path, damaged: Path, data: st.DataObject, published: bool) -> None:
    if not published:
        (damaged / "manifest.json").unlink()
    before = content(damaged)
    good = data.draw(st.sampled_from(sorted((damaged / "commits").iterdir())))
    place = data.draw(st.integers(0 if published else 13, len(good.name) - 1))  # else the first row names another file
    letter = data.draw(st.sampled_from("0123456789abcdefx-").filter(lambda letter: letter != good.name[place]))
    good.rename(good.with_name(good.name[:place] + letter + good.name[place + 1 :]))
    assert mended(damaged).failed == ()
    assert content(damaged) == before
    shutil.rmtree(damaged)
    shutil.copytree(whole, damaged)


def test_a_commit_of_rows_within_another_part_is_moved(whole: Path, damaged: Path) -> None:
    suffix = "tar" if (whole / "data" / "index.json").exists() else "parquet"
    commit(SampleSet(str(damaged)), 3, 4, suffix)
    mended(damaged)
    assert content(damaged) == content(whole)
    assert (damaged / "quarantine" / "data" / f"part-{3:012d}.{suffix}").exists()


def test_of_parts_of_two_runs_the_spec_that_one_agrees_with_stays(tmp_path: Path) -> None:
    samples = SampleSet(str(tmp_path))
    samples.open(SPEC)
    commit(samples, 0, 5, "parquet", {**SPEC, "checkpoint": "cd" * 32})  # of a straggler
    commit(samples, 5, 5, "parquet")
    assert mended(tmp_path).done == ()
    assert samples.spec() == SPEC


@pytest.mark.parametrize("harm", ["lost", "other"])
def test_without_a_part_or_card_that_tells_nothing_is_changed(damaged: Path, harm: str) -> None:
    run = damaged / "run.json"
    for file in (damaged / "data").glob("part-*"):
        file.write_bytes(file.read_bytes()[:-1])
    (damaged / "README.md").unlink()
    if harm == "lost":
        run.unlink()
    else:
        run.write_bytes(run.read_bytes().replace(b'"seed": 0', b'"seed": 1'))
    before = content(damaged)
    with pytest.raises(CorruptDataError, match="no undamaged part"):
        mended(damaged)
    assert content(damaged) == before


@pytest.mark.parametrize("whole", ["tar"], indirect=True)
@pytest.mark.parametrize("harm", ["lost", "other number"])
def test_the_index_of_shards_is_proved_and_restored(whole: Path, damaged: Path, harm: str) -> None:
    index = damaged / "data" / "index.json"
    if harm == "lost":
        index.unlink()
    else:
        index.write_bytes(index.read_bytes().replace(b'"nsamples": 5', b'"nsamples": 90', 1))
    assert any("data/index.json" in problem for problem in verify(str(damaged)).problems)
    again = Path(shutil.copytree(damaged, damaged.with_name("again")))
    assert mended(damaged).done == ("data/index.json: made anew from the ledger",)
    SampleSet(str(again)).publish(12)  # as the same command does
    for folder in (damaged, again):
        assert content(folder) == content(whole)
        assert verify(str(folder)).ok


def test_an_index_that_was_made_for_the_shards_stays_while_it_is_theirs(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", "tar", 10)
    urls = [str(path) for path in sorted((folder / "data").glob("*.tar"))]
    parts = [index_shard(*pair, checksums=True) for pair in zip(urls, found_shards(urls), strict=True)]
    save_index(join_shards(parts), str(folder / "data"))
    before = content(folder)
    SampleSet(str(folder)).publish(10)  # as the same command does
    assert verify(str(folder)).problems == ()
    assert repair(verify(str(folder))).done == ()
    assert content(folder) == before
    assert open_data(str(folder / "data")).has_digests
    samples = SampleSet(str(folder))
    samples.open(SPEC, num_samples=15)
    commit(samples, 10, 5, "tar")
    samples.publish(15)
    assert open_data(str(folder / "data")).num_samples == 15
    assert verify(str(folder)).problems == ()


def test_the_index_of_a_set_that_grows_is_no_problem(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", "tar", 10)
    manifest = (folder / "manifest.json").read_bytes()
    samples = SampleSet(str(folder))
    samples.open(SPEC, num_samples=20)
    commit(samples, 10, 5, "tar")
    assert verify(str(folder)).problems == ()
    samples.publish(15)
    (folder / "manifest.json").write_bytes(manifest)  # killed just before the new one
    assert verify(str(folder)).problems == ()
    commit(samples, 15, 5, "tar")
    assert verify(str(folder)).problems == ()
    (folder / "data" / "index.json").write_bytes(b"{}")
    assert any("data/index.json" in problem for problem in verify(str(folder)).problems)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (b'{"given": "a", "chexkpoint": "b"}', "the fields 'given', 'chexkpoint', expected text in the fields 'given', 'ch"),
        (b'{"given": "a"}', "the fields 'given', expected"),
        (b'{"given": "a", "checkpoint": 3}', "'checkpoint': 3"),
        (b"[1]", r"got \[1\], expected"),
        (b'{"given": "a"', "got no JSON"),
        (b"\xff\xfe", "got no JSON"),
    ],
)
def test_a_damaged_origin_is_found_and_moved_aside(damaged: Path, wrong: bytes, says: str) -> None:
    (damaged / "origin.json").write_bytes(wrong)
    (problem,) = verify(str(damaged)).problems
    assert problem.startswith("origin.json: got ")
    assert "verify.py --repair moves it to quarantine/" in problem
    with pytest.raises(CorruptDataError, match=says):
        Origin(given="/runs/a", checkpoint="/runs/b").write(str(damaged))
    (line,) = mended(damaged).done
    assert line.startswith("origin.json: moved to quarantine/; the next generate job looks")
    assert (damaged / "quarantine" / "origin.json").read_bytes() == wrong
    assert verify(str(damaged)).ok


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damaged_letter_of_an_origin_is_found(damaged: Path, data: st.DataObject) -> None:
    origin = Origin(given="/runs/\udcff", checkpoint="/runs/\udcff/checkpoints/1", conditions="/字.parquet")
    (damaged / "origin.json").unlink(missing_ok=True)
    origin.write(str(damaged))
    assert load_origin(str(damaged)) == origin
    bad = bytearray((damaged / "origin.json").read_bytes())
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (damaged / "origin.json").write_bytes(bad)
    try:
        assert load_origin(str(damaged)) == origin  # a space between the fields
    except CorruptDataError:
        assert any("origin.json" in problem for problem in verify(str(damaged), decode_images=False).problems)


def test_an_origin_that_somebody_edited_needs_no_digest(damaged: Path) -> None:
    (damaged / "origin.json").write_text('{"given": "/moved/a", "checkpoint": "/moved/a/checkpoints/1"}')
    assert verify(str(damaged)).ok
    assert load_origin(str(damaged)) == Origin(given="/moved/a", checkpoint="/moved/a/checkpoints/1")


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_a_repair_whose_folder_another_job_took_over_moves_nothing(
    damaged: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that the other job has just put, and not yet committed, looks like a stray file."""
    part = next((damaged / "data").glob("part-*"))
    shutil.copy(part, part.with_name(part.name.replace("part-0", "part-9")))
    fence, later = Fence(str(damaged), 1), damaged / "lease" / "000000000002.holder"
    later.parent.mkdir()
    later.with_name("000000000001.holder").touch()
    report, before = verify(str(damaged)), content(damaged)
    if moment == "before":
        later.touch()
    mend = repair_module.mend_run_spec

    def slow(url: str) -> list[str]:
        later.touch()
        return mend(url)

    monkeypatch.setattr(repair_module, "mend_run_spec", slow)
    with pytest.raises(CommitConflict, match="another job took over"):
        repair(report, fence=fence)
    assert {name: data for name, data in content(damaged).items() if "holder" not in name} == {
        name: data for name, data in before.items() if "holder" not in name
    }


@pytest.mark.parametrize("suffix", ["parquet", "tar"])
def test_a_part_that_a_killed_job_put_beyond_a_published_set_is_no_stray_file(tmp_path: Path, suffix: PartSuffix) -> None:
    folder = made(tmp_path / "set", suffix, 10)
    SampleSet(str(folder)).open(SPEC, num_samples=15)
    commit(SampleSet(str(folder)), 10, 5, suffix)
    (killed_before,) = (folder / "commits").glob("000000000010-*")
    killed_before.unlink()
    assert verify(str(folder)).problems == ()
    (part,) = (folder / "data").glob("part-000000000010.*")
    sound = part.read_bytes()
    part.write_bytes(sound[:-1])
    assert any("part-000000000010" in problem for problem in verify(str(folder)).problems)
    shutil.copytree(folder, tmp_path / "copy")
    assert mended(tmp_path / "copy").failed == ()
    assert verify(str(tmp_path / "copy")).ok
    assert not (tmp_path / "copy" / "data" / part.name).exists()
    part.write_bytes(sound)
    (folder / "goals" / "000000000015").unlink()  # nobody asked for it
    assert any("got a stray file" in problem for problem in verify(str(folder)).problems)
    assert mended(folder).failed == ()
    assert (folder / "quarantine" / "data" / part.name).read_bytes() == sound
    assert (verify(str(folder)).ok, verify(str(folder)).rows) == (True, 10)


@pytest.mark.parametrize("suffix", ["parquet", "tar"])
@pytest.mark.parametrize("first", [10, 15])
@pytest.mark.parametrize("harm", ["origin.json", "manifest.json"])
def test_repair_leaves_the_parts_of_a_growing_set_to_the_job_that_makes_it_larger(
    tmp_path: Path, suffix: PartSuffix, first: int, harm: str
) -> None:
    """A job that was to make 20 of 10 was killed when it had put one of the two parts, and not yet the other."""
    folder = made(tmp_path / "set", suffix, 10)
    before = content(folder)
    samples = SampleSet(str(folder))
    samples.open(SPEC, num_samples=20)
    commit(samples, first, 5, suffix)
    (killed_before,) = (folder / "commits").glob(f"{first:012}-*")
    killed_before.unlink()
    grown = content(folder)
    assert verify(str(folder)).ok
    (folder / harm).write_bytes(b"{")
    failed = mended(folder).failed
    if harm == "origin.json":
        assert failed == ()
        same = {name for name in grown if name != harm}
        assert {name: data for name, data in content(folder).items() if name in same} == {name: grown[name] for name in same}
        assert verify(str(folder)).ok
    else:
        (line,) = failed
        assert line.startswith(
            "manifest.json: got 15 of 20 rows committed, expected all: first gap at row 10"
            if first == 15
            else "manifest.json: got 15 rows committed, expected as many as a job was to make: [10, 20]"
        )
    commit(samples, 25 - first, 5, suffix)
    samples.adopt()
    assert samples.publish(20).num_samples == 20
    assert set(before) - {harm} <= set(content(folder))


def test_a_card_of_somebodys_own_is_kept_when_the_manifest_is_made_anew(damaged: Path) -> None:
    (damaged / "README.md").write_text("mine")
    (damaged / "manifest.json").write_bytes(b"{")
    assert mended(damaged).failed == ()
    assert (damaged / "quarantine" / "README.md").read_text() == "mine"
    assert not (damaged / "quarantine" / "contact-sheet.png").exists()


@pytest.mark.parametrize("wrong", [b"1e905", b"NaN", b'"\\ud800"', b"-1e-05e"])
def test_a_number_that_json_cannot_hold_is_damage_to_run_json(tmp_path: Path, wrong: bytes) -> None:
    """One flipped bit makes 1e905 of 1e-05, which Python reads as an infinite number."""
    spec = {**SPEC, "weights": [1e-05, 1.0]}
    samples = SampleSet(str(tmp_path))
    samples.open(spec, num_samples=5)
    commit(samples, 0, 5, "parquet", spec)
    samples.publish(5)
    whole = content(tmp_path)
    run = tmp_path / "run.json"
    run.write_bytes(whole["run.json"].replace(b"1e-05", wrong))
    problems = verify(str(tmp_path)).problems
    assert [problem for problem in problems if problem.startswith("run.json: got no JSON: ") and str(run) in problem]
    assert mended(tmp_path).failed == ()
    assert content(tmp_path) == whole
    assert verify(str(tmp_path)).ok


def test_what_is_no_goal_is_named_and_moved_aside(whole: Path, damaged: Path) -> None:
    (goal,) = (damaged / "goals").iterdir()
    goal.write_bytes(b"x")
    strange = ["-1", "000000000000", "12", "below/12", "foo"]
    (damaged / "goals" / "below").mkdir()
    for name in strange:
        (damaged / "goals" / name).write_bytes(b"mine")
    problems = verify(str(damaged)).problems
    assert [problem.partition(":")[0] for problem in problems] == sorted(f"goals/{name}" for name in [*strange, goal.name])
    assert all("expected only empty ones named by numbers of samples" in problem for problem in problems)
    (damaged / "manifest.json").write_bytes(b"{")
    assert mended(damaged).failed == ()
    assert content(damaged) == content(whole)
    assert (damaged / "quarantine" / "goals" / "foo").read_bytes() == b"mine"
    assert verify(str(damaged)).ok


@pytest.mark.parametrize("name", ["README.md", "contact-sheet.png"])
def test_repair_makes_the_card_and_the_sheet_anew(damaged: Path, name: str) -> None:
    bad = damaged / name
    bad.write_bytes(b"\xff")
    assert mended(damaged).done == (f"{name}: made anew from the ledger",)
    assert verify(str(damaged)).ok
