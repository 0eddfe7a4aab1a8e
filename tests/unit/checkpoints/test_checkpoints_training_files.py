"""What training continues from: tensors in files of bounded size, read back from whatever files there are."""

import tracemalloc
from pathlib import Path

import pytest
import torch

from pipeline.checkpoints.record import make_record, record_of
from pipeline.checkpoints.training_files import read_training_files, training_files
from pipeline.errors import CorruptDataError

TENSORS = {f"t{i}": torch.full((i + 1, 100), float(i)) for i in range(6)}  # of 400, 800, ... 2,400 bytes


def written(folder: Path, part_bytes: int) -> dict[str, int]:
    """The bytes of tensors in each file."""
    (folder / "training").mkdir(parents=True)
    records = {}
    for name, data in training_files(TENSORS, {"at": [1, 2]}, part_bytes):
        (folder / name).write_bytes(data)
        records[name] = record_of(data)
    tensors, state = read_training_files(str(folder), make_record(3, records))
    assert state == {"at": [1, 2]}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())
    return {name: record.size_bytes for name, record in records.items()}


@pytest.mark.parametrize(("part_bytes", "files"), [(10**6, 1), (2400, 4), (2399, 5), (1, 6)])
def test_tensors_are_cut_into_files_of_bounded_size(tmp_path: Path, part_bytes: int, files: int) -> None:
    sizes = written(tmp_path, part_bytes)
    assert sorted(sizes) == [*(f"training/{i:05d}.safetensors" for i in range(files)), "training/state.json"]
    header = 1000  # names, types and shapes
    assert all(size <= max(part_bytes, 2400) + header for size in sizes.values())


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    records = {}
    for name, data in training_files(TENSORS, {}, 1000):
        (tmp_path / name).write_bytes(data)
        records[name] = record_of(data)
    (tmp_path / "training/00001.safetensors").unlink()
    with pytest.raises(CorruptDataError, match=r"missing .*training/00001"):
        read_training_files(str(tmp_path), make_record(0, records))


def test_only_one_file_is_in_memory_at_a_time() -> None:
    tensors = {f"t{i}": torch.zeros(250_000) for i in range(16)}  # 16 MB
    tracemalloc.start()
    for _, data in training_files(tensors, {}, part_bytes=2_000_000):
        del data
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
