"""The wids library, which defined the index's format, opens our shards by it."""

from pathlib import Path

import pytest

from pipeline.shards import decode_label, open_data, open_source, pack, read_samples


@pytest.mark.filterwarnings("ignore:String specifications for transformations")
def test_wids_finds_the_same_samples(tmp_path: Path) -> None:
    import wids

    pack(open_source("digits"), str(tmp_path / "data"), shard_size=1000)
    theirs = wids.ShardListDataset(str(tmp_path / "data" / "index.json"), cache_dir=str(tmp_path / "cache"), keep=True)
    index = open_data(str(tmp_path / "data"))
    assert len(theirs) == index.num_samples == 1797
    for number in (0, 999, 1000, 1796):
        ours = read_samples(index, number // 1000, number % 1000, number % 1000 + 1)[0]
        assert theirs[number]["__key__"] == ours.key
        assert theirs[number][".cls"] == decode_label(ours)
