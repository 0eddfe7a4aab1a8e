"""The plan of an indexing job: what stands in the index's place counts where it is an index, and is kept where it is none."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.plans.index_plan import plan_indexing
from pipeline.shards import load_index


def test_what_an_earlier_index_knows_is_kept(data: str) -> None:
    plan = plan_indexing(data, "")
    known = load_index(f"{data}/index.json")
    assert (plan.name, plan.meta, plan.warning) == (known.name, known.meta, "")
    assert plan.with_md5 == {shard.url for shard in known.shards}
    plan.keep_replaced()
    assert not Path(data, "index.json.replaced").exists()


@pytest.mark.parametrize("text", ['{"trunc', "", '{"images": []}', '{"wids_version": 1, "datasets": [1], "shardlist": [1]}'])
def test_what_is_no_index_is_replaced_with_a_warning_and_kept(data: str, tmp_path: Path, text: str) -> None:
    folder = shutil.copytree(data, tmp_path / "data")
    (folder / "index.json").write_text(text)
    plan = plan_indexing(f"{folder}/*.tar", "")
    assert "not a shard index" in plan.warning
    assert f"kept as {folder}/index.json.replaced" in plan.warning
    assert (len(plan.urls), plan.with_md5, plan.name) == (4, frozenset(), None)
    plan.keep_replaced()
    assert (folder / "index.json.replaced").read_text() == text


def test_a_damaged_index_names_no_shards(data: str, tmp_path: Path) -> None:
    index = tmp_path / "index.json"
    index.write_text('{"trunc')
    with pytest.raises(ConfigError, match=r"not a shard index.*name the shards instead"):
        plan_indexing(str(index), "")
