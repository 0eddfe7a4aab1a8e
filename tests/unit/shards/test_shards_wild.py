"""Tars as they are found in the wild, from files to rows: GNU tar with long names, folders, odd names, several images."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CorruptDataError
from pipeline.shards import decode_image, decode_label, image_field, open_data, read_samples

DEEP = "a folder with spaces/" + "d" * 120 + "/" + "e" * 120


def tree(folder: Path, make_png: Callable[..., bytes]) -> dict[str, bytes]:
    """Files of nine samples, by the name they have in the archive."""
    files: dict[str, bytes] = {}
    for number in range(9):
        key = f"{DEEP}/v1.2/{number:04d}-ünïcode"
        files[f"{key}.PNG"] = make_png(number)
        files[f"{key}.seg.png"] = make_png(number + 100)
        files[f"{key}.json"] = json.dumps({"label": number, "text": "ß"}).encode()
        files[f"{key}.txt"] = b"a caption\n"
    files["README"] = b"no sample"
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "link.png").symlink_to("README")
    return files


@pytest.mark.parametrize("form", ["gnu", "pax", "posix"])
def test_what_gnu_tar_writes_is_read(
    tmp_path: Path, make_png: Callable[..., bytes], form: str, by_webdataset: Callable
) -> None:
    folder = tmp_path / "tree"
    files = tree(folder, make_png)
    shard = tmp_path / f"{form}.tar"
    subprocess.run(["tar", f"--format={form}", "--sort=name", "-cf", shard, "-C", folder, "."], check=True)
    index = open_data(str(shard))
    assert index.num_samples == 9
    samples = read_samples(index, 0, 0, 9)
    assert [sample.key.removeprefix("./") for sample in samples] == [f"{DEEP}/v1.2/{n:04d}-ünïcode" for n in range(9)]
    for number, sample in enumerate(samples):
        assert set(sample.fields) == {"png", "seg.png", "json", "txt"}
        assert image_field(sample) == "png"
        assert bytes(sample.fields["png"]) == files[f"{sample.key.removeprefix('./')}.PNG"]
        assert decode_label(sample) == number
        mask = decode_image(sample.fields[image_field(sample, "seg.png")], channels=1)
        assert np.array_equal(mask, decode_image(make_png(number + 100), channels=1))
    found = by_webdataset(shard)
    assert [sample["__key__"] for sample in found] == [sample.key for sample in samples]


def test_members_of_a_sample_apart_from_each_other_are_refused_by_name(tmp_path: Path, make_tar: Callable[..., bytes]) -> None:
    # As `tar c *.png *.cls` writes them.
    files = [(f"{n}.{kind}", b"1") for kind in ("png", "cls") for n in range(4)]
    (tmp_path / "apart.tar").write_bytes(make_tar(files))
    with pytest.raises(CorruptDataError, match=r"sample '0' comes back after other samples.*apart\.tar at byte 4096"):
        open_data(str(tmp_path / "apart.tar"))
