"""What people have in a folder, or write into a set, is never written over without a copy."""

from pathlib import Path

import pytest
from sample_makers import SPEC, fill, finished_set

from pipeline import storage
from pipeline.errors import ConfigError, ResumeMismatch
from pipeline.samples import SampleSet, open_ranges, verify


def content(url: str) -> dict[str, bytes]:
    return {found.url[len(url) + 1 :]: storage.read_bytes(found.url) for found in storage.list_objects(url, recursive=True)}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("README.md", "README.md"),
        ("manifest.json", "manifest.json"),
        ("contact-sheet.png", "contact-sheet.png"),
        ("data/mine.csv", "data/"),
        ("data/below/mine.csv", "data/"),
        ("goals/mine", "goals/"),
    ],
)
def test_a_folder_of_somebodys_own_is_refused_before_anything_is_written(set_url: str, name: str, shown: str) -> None:
    storage.put_once(storage.join(set_url, name), b"precious")
    for use in (lambda: SampleSet(set_url).check(SPEC), lambda: SampleSet(set_url).open(SPEC, num_samples=5)):
        with pytest.raises(
            ConfigError, match=rf"without run\.json that has {shown}, expected none .*name another output"
        ) as caught:
            use()
        assert not isinstance(caught.value, ResumeMismatch)
        assert "\n" not in str(caught.value)
    assert content(set_url) == {name: b"precious"}


def test_a_file_or_link_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    (tmp_path / "README.md").symlink_to("/nonexistent")
    with pytest.raises(ConfigError, match=r"has README\.md, data/, expected none"):
        SampleSet(str(tmp_path)).open(SPEC)


def test_what_a_killed_first_start_leaves_is_continued(set_url: str) -> None:
    """The lock or lease, the copy of the checkpoint and origin.json come before run.json; goals do no harm."""
    for name in (
        ".lock",
        "lease/000000000001.holder",
        "lease/store-creates-once",
        "checkpoint/0123456789ab/model.json",
        "origin.json",
    ):
        storage.put_once(storage.join(set_url, name), b"")
    SampleSet(set_url).check(SPEC)
    SampleSet(set_url).open(SPEC, num_samples=25)


def test_other_files_in_the_folder_and_empty_folders_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "notes.md").write_text("mine")
    (tmp_path / "2026-01-31").mkdir()
    SampleSet(str(tmp_path)).open(SPEC)


def test_a_job_that_begins_meanwhile_is_no_foreign_folder(set_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one writes run.json and the whole set between this one's look for run.json and its look for files."""
    exists, looks = storage.exists, []

    def slow(url: str) -> bool:
        looks.append(url)
        found = exists(url)
        if len(looks) == 1:
            finished_set(set_url)
        return found

    monkeypatch.setattr(storage, "exists", slow)
    SampleSet(set_url).open(SPEC, num_samples=25)
    assert looks[0].endswith("run.json")
    assert verify(set_url).ok


def grown(url: str, num_samples: int) -> None:
    samples = SampleSet(url)
    samples.open(SPEC, num_samples=num_samples)
    fill(samples, open_ranges(num_samples, 10, samples.committed()))
    samples.publish(num_samples)


@pytest.mark.parametrize("text", [b"My own card\n", b"# 7 generated samples\n", b"# 25 generated samples\n", b"\xff"])
def test_a_card_that_was_edited_is_kept_when_the_set_grows(set_url: str, text: bytes) -> None:
    finished_set(set_url)
    card, kept = storage.join(set_url, "README.md"), storage.join(set_url, "quarantine", "README.md")
    storage.put_replace(card, text)
    grown(set_url, 40)
    assert b"# 40 generated samples" in storage.read_bytes(card)
    assert storage.read_bytes(kept) == text


def test_an_edit_of_the_sets_own_card_is_kept_too(set_url: str) -> None:
    finished_set(set_url)
    card = storage.join(set_url, "README.md")
    edited = storage.read_bytes(card).replace(b"pretty_name: Generated samples", b"pretty_name: My samples")
    storage.put_replace(card, edited)
    grown(set_url, 40)
    assert storage.read_bytes(storage.join(set_url, "quarantine", "README.md")) == edited


def test_the_sets_own_earlier_card_is_replaced_without_a_copy(set_url: str) -> None:
    finished_set(set_url)
    manifest = storage.read_bytes(storage.join(set_url, "manifest.json"))
    grown(set_url, 40)
    storage.put_replace(storage.join(set_url, "manifest.json"), manifest)  # killed between the card and the manifest
    grown(set_url, 1_040)
    assert b"# 1,040 generated samples" in storage.read_bytes(storage.join(set_url, "README.md"))
    assert not storage.exists(storage.join(set_url, "quarantine"))
