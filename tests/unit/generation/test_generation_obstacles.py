"""`repair` of sets with folders, links that lead nowhere or pipes in the place of files: they are moved, all else is mended."""

import os
import shutil
from pathlib import Path

import pytest
from generation_sets import content, mended

from pipeline.samples import verify
from pipeline.samples.obstacles import mend_obstacles


def in_the_way(file: Path, kind: str) -> None:
    """Puts something else in the place of a file or folder of a set."""
    if file.is_dir():
        shutil.rmtree(file)
    else:
        file.unlink()
    match kind:
        case "folder":
            file.mkdir()
        case "full folder":
            file.mkdir()
            (file / "mine.txt").write_text("mine")
        case "file":
            file.write_text("mine")
        case "pipe":
            os.mkfifo(file)
        case _:
            file.symlink_to("/nonexistent")


@pytest.mark.parametrize("kind", ["folder", "full folder", "link", "pipe"])
@pytest.mark.parametrize("name", ["run.json", "origin.json", "manifest.json", "README.md", "contact-sheet.png"])
def test_a_folder_link_or_pipe_in_the_place_of_a_small_file_is_named_and_all_else_is_mended(
    whole: Path, damaged: Path, name: str, kind: str
) -> None:
    in_the_way(damaged / name, kind)
    (damaged / "goals" / "foo").write_bytes(b"")  # something else to be mended
    got = {"link": "a link that leads nowhere", "pipe": "a named pipe"}.get(kind, "a folder")
    assert f"{name}: got {got}, expected a file" in verify(str(damaged)).problems
    repaired = mended(damaged)
    assert repaired.failed == ()
    assert repaired.done[0] == f"{name}: moved to quarantine/"
    assert "goals/foo: moved to quarantine/" in repaired.done
    assert content(damaged) == {file: data for file, data in content(whole).items() if file != "origin.json" or name != file}
    assert verify(str(damaged)).ok
    assert kind != "full folder" or (damaged / "quarantine" / name / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("kind", ["folder", "full folder", "link", "pipe"])
@pytest.mark.parametrize("name", ["commits", "goals", "data/index.json"])
def test_a_folder_link_or_pipe_in_the_place_of_a_commit_goal_or_index_is_moved_aside(
    whole: Path, damaged: Path, name: str, kind: str
) -> None:
    odd = damaged / name if name.startswith("data") else sorted((damaged / name).iterdir())[0]
    if not odd.exists():
        return  # a set of Parquet files has no index
    in_the_way(odd, kind)
    assert any(problem.startswith(f"{odd.relative_to(damaged)}: got a ") for problem in verify(str(damaged)).problems)
    assert mended(damaged).failed == ()
    assert content(damaged) == content(whole)
    assert verify(str(damaged)).ok


@pytest.mark.parametrize("kind", ["file", "link", "pipe"])
@pytest.mark.parametrize("name", ["commits", "goals"])
def test_what_is_in_the_place_of_a_folder_is_moved_aside(whole: Path, damaged: Path, name: str, kind: str) -> None:
    in_the_way(damaged / name, kind)
    assert any(problem.startswith(f"{name}: got a ") for problem in verify(str(damaged)).problems)
    assert mended(damaged).failed == ()
    assert {file for file in content(whole) if not file.startswith("goals")} <= set(content(damaged))
    assert verify(str(damaged)).ok


@pytest.mark.parametrize("kind", ["folder", "full folder", "link", "pipe"])
def test_a_folder_link_or_pipe_in_the_place_of_a_part_leaves_its_name_free(whole: Path, damaged: Path, kind: str) -> None:
    """It is found broken, and made again where there is a checkpoint."""
    part = sorted((damaged / "data").glob("part-*"))[1]
    bytes_of_part = part.read_bytes()
    in_the_way(part, kind)
    report = verify(str(damaged))
    assert [record.name for record in report.broken] == [part.name]
    assert any(problem.startswith(f"data/{part.name}: got a ") for problem in report.problems)
    assert mend_obstacles(str(damaged)) == [f"data/{part.name}: moved to quarantine/"]
    assert not part.exists()
    part.write_bytes(bytes_of_part)
    assert content(damaged) == content(whole)
    assert verify(str(damaged)).ok


def test_a_stray_pipe_is_moved_aside_unread(whole: Path, damaged: Path) -> None:
    os.mkfifo(damaged / "data" / "stray")
    assert "data/stray: got a named pipe, expected a file" in verify(str(damaged)).problems
    assert mended(damaged).done == ("data/stray: moved to quarantine/",)
    os.mkfifo(damaged / "data" / "stray")
    assert mended(damaged).done == ("data/stray: moved to quarantine/2/",)  # what lies there is not read either
    assert (damaged / "quarantine" / "data" / "stray").is_fifo()
    assert content(damaged) == content(whole)
    assert verify(str(damaged)).ok
