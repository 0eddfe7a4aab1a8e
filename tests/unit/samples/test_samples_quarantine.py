"""Nothing that was moved to `quarantine/` is written over by what comes later."""

from pathlib import Path

import pytest
from sample_makers import finished_set

from pipeline import storage
from pipeline.samples.mending import mend_ledger
from pipeline.samples.quarantine import kept_aside, moved_aside


def test_a_second_find_of_the_same_name_gets_a_place_of_its_own(set_url: str) -> None:
    finished_set(set_url)
    lines = []
    for text in (b"first", b"second", b"third"):
        storage.put_once(storage.join(set_url, "data/mine.txt"), text)
        lines += mend_ledger(set_url)
    assert lines == [f"data/mine.txt: moved to {place}/" for place in ("quarantine", "quarantine/2", "quarantine/3")]
    kept = storage.list_objects(storage.join(set_url, "quarantine"), recursive=True)
    assert [storage.read_bytes(found.url) for found in kept] == [b"second", b"third", b"first"]


def test_a_copy_that_is_there_already_is_not_made_again(set_url: str) -> None:
    assert kept_aside(set_url, "README.md", b"mine") == "quarantine"
    assert kept_aside(set_url, "README.md", b"other") == "quarantine/2"
    assert kept_aside(set_url, "README.md", b"mine") == "quarantine"
    assert kept_aside(set_url, "README.md", b"other") == "quarantine/2"


def test_files_folders_and_links_do_not_meet_each_other(tmp_path: Path) -> None:
    """Of one name there may be a file, a folder with files in it, and a link that leads nowhere, one after another."""
    odd = tmp_path / "data" / "x"
    odd.parent.mkdir()
    odd.write_text("a file")
    assert moved_aside(str(tmp_path), "data/x") == "data/x: moved to quarantine/"
    odd.mkdir()
    (odd / "y").write_text("in a folder")
    assert moved_aside(str(tmp_path), "data/x/y") == "data/x/y: moved to quarantine/2/"
    assert moved_aside(str(tmp_path), "data/x") == "data/x: moved to quarantine/3/"
    for place in (4, 5):
        odd.symlink_to("/nonexistent")
        assert moved_aside(str(tmp_path), "data/x") == f"data/x: moved to quarantine/{place}/"
    odd.write_text("another file")
    assert moved_aside(str(tmp_path), "data/x") == "data/x: moved to quarantine/6/"
    assert not odd.exists()
    kept = {str(file.relative_to(tmp_path / "quarantine")) for file in (tmp_path / "quarantine").rglob("*")}
    assert {"data/x", "2/data/x/y", "3/data/x", "4/data/x", "5/data/x", "6/data/x"} <= kept


def test_what_somebody_removed_from_an_object_store_meanwhile_is_in_no_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert moved_aside("memory://quarantined/set", "data/x") == "data/x: removed by somebody else meanwhile"
    with pytest.raises(ValueError, match="expected a local path"):
        storage.rename("memory://quarantined/set/x", "memory://quarantined/set/y")
    assert list(tmp_path.iterdir()) == []
