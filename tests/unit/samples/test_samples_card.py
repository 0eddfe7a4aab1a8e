"""The dataset card: it tells what the set is, and its examples run and give the rows that the manifest lists, no others."""

import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from sample_makers import SHAPE, SPEC, fill, finished_set, pixels, rows_of

from pipeline import storage
from pipeline.plans.commands import parse_train
from pipeline.samples import (
    PartRange,
    PartSuffix,
    SampleSet,
    dataset_card,
    encode_part,
    open_ranges,
    parquet_schema,
)
from pipeline.samples.for_people import mend_for_people
from pipeline.shards import open_data

FIND_PARTS = "The parts of the set"
READERS = ["Hugging Face datasets", "pandas", "DuckDB", "Ray Data"]


def blocks(card: str, language: str = "python") -> dict[str, str]:
    """The card's examples by their first comment."""
    examples = [piece.partition("```")[0] for piece in card.split(f"```{language}\n")[1:]]
    return {example.partition("\n")[0].removeprefix("# "): example for example in examples}


def being_extended(url: str, suffix: PartSuffix = "parquet", *, raw: bool = False) -> None:
    """A published set of 25 rows, one more part that is committed, one that is put, and a stray that repeats rows."""
    samples = SampleSet(url)
    samples.open(SPEC, num_samples=25)
    for span in open_ranges(25, 10, []):
        samples.commit(span.first, encode_part(rows_of(span, raw=raw), SPEC, suffix), span.rows, suffix)
    samples.publish(25)
    samples.open(SPEC, num_samples=60)
    samples.commit(25, encode_part(rows_of(PartRange(25, 5), raw=raw), SPEC, suffix), 5, suffix)
    for name, span in {"part-000000000030": PartRange(30, 10), "copy": PartRange(0, 10)}.items():
        storage.put_once(f"{url}/data/{name}.{suffix}", encode_part(rows_of(span, raw=raw), SPEC, suffix))


def run(url: str, readers: list[str]) -> dict[str, dict[str, Any]]:
    """What the examples of these readers leave, each run after the one that finds the parts."""
    examples = blocks(storage.read_bytes(f"{url}/README.md").decode())
    results: dict[str, dict[str, Any]] = {}
    for reader in readers:
        results[reader] = {"folder": url}
        exec(examples[FIND_PARTS], results[reader])
        exec(examples[reader], results[reader])
    return results


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hugging Face datasets without the network and without a cache outside the test."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", ["set", "r[1]*{a,b}", 'it\'s "so"? #1%20'])
def test_the_cards_examples_run_and_give_the_manifests_rows(tmp_path: Path, name: str):
    folder = str(tmp_path / name)
    finished_set(str(tmp_path / "r1xa"))  # which a pattern could take for the one below it
    being_extended(folder)
    card = (tmp_path / name / "README.md").read_text()
    assert list(blocks(card)) == [FIND_PARTS, *READERS]
    for reader, example in blocks(card).items():
        compile(example, reader, "exec")
    results = run(folder, READERS[:3])  # Ray Data starts a cluster: tests/ray has it
    for reader in READERS[:3]:
        assert results[reader]["picture"].size == (6, 6)
    assert results["Hugging Face datasets"]["samples"]["index"][:] == list(range(25))
    assert results["pandas"]["samples"]["index"].tolist() == list(range(25))
    assert results["DuckDB"]["samples"].order("index").project("index").fetchall() == [(i,) for i in range(25)]
    assert results["DuckDB"]["counts"] == [(0, 9), (1, 8), (2, 8)]
    duckdb.default_connection().close()


@pytest.mark.usefixtures("quiet")
def test_the_cards_examples_for_raw_pixels_run_and_give_the_manifests_rows(tmp_path: Path):
    folder = str(tmp_path / "set")
    being_extended(folder, raw=True)
    assert list(blocks((tmp_path / "set" / "README.md").read_text())) == [FIND_PARTS, *READERS]
    results = run(folder, READERS[:3])
    first = np.frombuffer(pixels(0), np.uint8).reshape(SHAPE)
    np.testing.assert_array_equal(results["Hugging Face datasets"]["picture"], first)
    np.testing.assert_array_equal(results["DuckDB"]["picture"], first)
    assert results["pandas"]["pixels"].tobytes() == b"".join(pixels(i) for i in range(25))
    assert results["Hugging Face datasets"]["samples"]["index"][:] == list(range(25))
    assert results["DuckDB"]["counts"] == [(0, 9), (1, 8), (2, 8)]
    duckdb.default_connection().close()


@pytest.mark.usefixtures("quiet")
def test_the_cards_examples_read_a_set_by_its_url(set_url: str):
    being_extended(set_url)
    samples = run(set_url, ["pandas"])["pandas"]["samples"]
    assert samples["index"].tolist() == list(range(25))


def test_the_cards_examples_for_shards_run_and_give_the_manifests_rows(tmp_path: Path):
    folder = str(tmp_path / "set")
    being_extended(folder, "tar")
    card = (tmp_path / "set" / "README.md").read_text()
    assert list(blocks(card)) == [FIND_PARTS, "webdataset"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves closing its files to the garbage collector
        code = f"folder = {folder!r}\n{''.join(blocks(card).values())}\n"
        check = "assert [sample['json']['index'] for sample in samples] == list(range(25))\n"
        subprocess.run([sys.executable, "-c", code + check], check=True)


def test_the_cards_line_for_training_streams_the_manifests_rows(tmp_path: Path):
    being_extended(str(tmp_path / "set"), "tar")
    (line,) = blocks((tmp_path / "set" / "README.md").read_text(), "bash").values()
    filled = line.replace("FOLDER", str(tmp_path / "set")).replace("PRESET", "mnist")
    assert filled.startswith("python jobs/train.py ")
    data = open_data(parse_train(shlex.split(filled)[2:]).job.data)
    assert [(shard.url.rpartition("/")[2], shard.num_samples) for shard in data.shards] == [
        ("part-000000000000.tar", 10),
        ("part-000000000010.tar", 10),
        ("part-000000000020.tar", 5),
    ]


def test_the_card_tells_what_it_is_and_how_it_was_made(set_url: str):
    manifest = finished_set(set_url).publish(25)
    card = dataset_card(manifest, SPEC, parquet_schema(SPEC), sheet=True)
    assert storage.read_bytes(storage.join(set_url, "README.md")).decode() == card
    assert "# 25 generated samples" in card
    assert f'"checkpoint": "{SPEC["checkpoint"]}"' in card
    assert "every `data/*.parquet`" in card
    odd = dataset_card(manifest, {"name": "{num_samples} `x` \n字"}, parquet_schema(SPEC))
    assert "{num_samples} `x` \\n字" in odd


def test_a_card_that_an_earlier_version_wrote_stays_until_the_set_grows_and_is_kept_then(tmp_path: Path):
    samples = finished_set(str(tmp_path / "set"))
    card = tmp_path / "set" / "README.md"
    now = card.read_text()
    earlier = now.replace("map(pd.read_parquet, parts)", '[pd.read_parquet(f"{folder}/data")]')
    assert earlier != now
    card.write_text(earlier)
    assert mend_for_people(str(tmp_path / "set")) == []
    samples.publish(25)
    assert card.read_text() == earlier
    card.unlink()
    samples.publish(25)
    assert card.read_text() == now
    card.write_text(earlier)
    samples.open(SPEC, num_samples=30)
    fill(samples, [PartRange(25, 5)])
    samples.publish(30)
    assert card.read_text().startswith(now.partition("# 25 gen")[0] + "# 30 generated samples")
    assert (tmp_path / "set" / "quarantine" / "README.md").read_text() == earlier
