"""Zeros at the end of a tar: as many as writers leave, or so many that a hole may have taken members with the end marker."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from pipeline.shards import open_data
from pipeline.shards.tar_end import is_usual_end

SAYS = "end with more zeros than tar writers leave"


def _files(folder: Path, sizes: list[int]) -> None:
    folder.mkdir()
    for number, size in enumerate(sizes):
        (folder / f"{number}.txt").write_bytes(b"x" * size)


@pytest.mark.parametrize("factor", ["-b1", "-b20", "-b8", "-b128", "-b2048"])
@pytest.mark.parametrize("last", [1, 511, 512, 513, 5000, 9216, 9728, 10240, 65536])
def test_what_writers_leave_is_said_nothing_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, factor: str, last: int
) -> None:
    _files(tmp_path / "tree", [3000, last])
    subprocess.run(["tar", factor, "--sort=name", "-cf", tmp_path / "a.tar", "-C", tmp_path / "tree", "."], check=True)
    assert open_data(str(tmp_path / "a.tar")).num_samples == 2
    assert SAYS not in caplog.text


@pytest.mark.parametrize("last", [1, 512, 600, 9216, 9728, 20000])
def test_what_python_leaves_and_bare_ends_are_said_nothing_about(last: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = last
        archive.addfile(member, io.BytesIO(b"x" * last))
    marker = 512 + -(-last // 512) * 512
    assert is_usual_end(marker, len(buffer.getvalue()))
    for zeros in (512, 1024, 1300):  # one block, two, and no whole number of them
        assert is_usual_end(marker, marker + zeros)
    assert not is_usual_end(marker, marker + 512 * 10001)


def test_a_hole_that_took_members_and_the_end_is_named_with_a_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _files(tmp_path / "tree", [30_000] * 8)
    for name in ("a", "b", "c"):
        subprocess.run(["tar", "--sort=name", "-cf", tmp_path / f"{name}.tar", "-C", tmp_path / "tree", "."], check=True)
    hole = 512 + 5 * 30_720 + 2048  # begins in the data of one, which so keeps its header
    whole = (tmp_path / "b.tar").read_bytes()
    (tmp_path / "b.tar").write_bytes(whole[:hole] + bytes(len(whole) - hole))
    index = open_data(str(tmp_path / "{a..c}.tar"))
    assert [shard.num_samples for shard in index.shards] == [8, 6, 8]
    assert f"1 of 3 shards {SAYS}" in caplog.text
    assert f"the first is {tmp_path}/b.tar, zeros from byte {512 + 6 * 30_720} to 256000" in caplog.text
