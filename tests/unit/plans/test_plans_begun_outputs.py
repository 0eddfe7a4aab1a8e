"""Outputs that a sweep began and whose checkpoints are gone: only its own, at little cost, and as far as they can be seen."""

import secrets
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import PermissionDenied, TransientStorageError
from pipeline.plans.begun_outputs import begun_outputs
from pipeline.plans.generate_config import GenerateConfig
from pipeline.samples import Manifest, Origin, PartRecord
from pipeline.samples.goals import goal_name

RUN = "/runs/x/checkpoints"
STEP = "step-00000000"


@pytest.fixture
def out() -> str:
    """A folder of outputs on an object store."""
    return f"memory://{secrets.token_hex(8)}/out"


def begin(output: str, name: str) -> None:
    Origin(given=f"{RUN}/{name}", checkpoint=f"{RUN}/{name}").write(output)


def publish(output: str, rows: int) -> None:
    parts = (PartRecord(first=0, rows=rows, size_bytes=1, xxh3_128="0" * 32, suffix="parquet"),)
    manifest = Manifest(num_samples=rows, run_sha256="0" * 64, parts=parts)
    storage.put_once(storage.join(output, "manifest.json"), manifest.to_bytes())


def ask_for(output: str, *rows: int) -> None:
    for number in rows:
        storage.put_once(storage.join(output, "goals", goal_name(number)), b"")


def begun(output: str, *there: str) -> list[str]:
    return [job.output for job in begun_outputs(GenerateConfig(output=output), f"{RUN}/*", there)]


def test_a_sweep_takes_no_output_of_another_whose_names_are_longer(out: str) -> None:
    for number, tail in ((1, ""), (1, "-v2"), (2, "-v2")):  # the latter two by the other sweep
        begin(f"{out}/{STEP}{number}{tail}", f"{STEP}{number}")
    for name in (f"{STEP}3", f"{STEP}3-v2"):
        storage.put_once(f"{out}/{name}/origin.json", b"{")  # nothing tells whose it is
    assert begun(f"{out}/{{checkpoint}}") == [f"{out}/{STEP}1", f"{out}/{STEP}3"]
    assert begun(f"{out}/{{checkpoint}}", f"{STEP}1") == [f"{out}/{STEP}3"]
    assert begun(f"{out}/{{checkpoint}}-v2") == [f"{out}/{STEP}{number}-v2" for number in (1, 2, 3)]


def test_a_checkpoint_whose_name_is_longer_is_its_own(out: str) -> None:
    begin(f"{out}/{STEP}1-best", f"{STEP}1-best")
    assert begun(f"{out}/{{checkpoint}}") == [f"{out}/{STEP}1-best"]


def test_finished_outputs_cost_no_manifest_and_no_origin(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, goals in ((1, [8]), (2, [8, 16]), (3, [4, 8])):
        output = f"{out}/{STEP}{number}"
        begin(output, f"{STEP}{number}")
        ask_for(output, *goals)
        publish(output, 8)
    read, read_bytes = [], storage.read_bytes

    def noted(url: str) -> bytes:
        read.append(url.removeprefix(f"{out}/{STEP}"))
        return read_bytes(url)

    monkeypatch.setattr(storage, "read_bytes", noted)
    assert begun(f"{out}/{{checkpoint}}") == [f"{out}/{STEP}2"]
    assert sorted(read) == ["2/manifest.json", "2/origin.json", "3/manifest.json"]


def test_only_the_folder_of_the_names_is_listed(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(f"{out}/{STEP}1-a/png/{STEP}1", f"{STEP}1")
    begin(f"{out}/{STEP}2-a/png/{STEP}1", f"{STEP}2")
    patterns, glob = [], storage.glob

    def noted(pattern: str) -> list[str]:
        patterns.append(pattern)
        return glob(pattern)

    monkeypatch.setattr(storage, "glob", noted)
    assert begun(f"{out}/{{checkpoint}}-a/png/{{checkpoint}}") == [f"{out}/{STEP}1-a/png/{STEP}1"]
    assert patterns == [f"{out}/step-*-a"]


def test_who_may_not_list_the_outputs_goes_on_without(
    out: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def denied(pattern: str) -> list[str]:
        raise PermissionDenied("permission denied", pattern)

    monkeypatch.setattr(storage, "glob", denied)
    assert begun(f"{out}/{{checkpoint}}") == []
    assert "permission denied" in caplog.text


@pytest.mark.parametrize("name", ["manifest.json", "origin.json", "goals"])
def test_an_output_that_may_not_be_read_is_passed_over_and_an_outage_ends_the_job(
    name: str, out: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        begin(f"{out}/{STEP}{number}", f"{STEP}{number}")
    if name != "origin.json":
        publish(f"{out}/{STEP}1", 8)
        ask_for(f"{out}/{STEP}1", 8, 16)
    refused, error = f"{out}/{STEP}1/{name}", PermissionDenied
    read_bytes, list_objects = storage.read_bytes, storage.list_objects

    def read(url: str) -> bytes:
        if url == refused:
            raise error("no", url)
        return read_bytes(url)

    def listed(url: str, recursive: bool = False) -> list[storage.ObjectInfo]:
        if url == refused:
            raise error("no", url)
        return list_objects(url, recursive)

    monkeypatch.setattr(storage, "read_bytes", read)
    monkeypatch.setattr(storage, "list_objects", listed)
    assert begun(f"{out}/{{checkpoint}}") == [f"{out}/{STEP}2"]
    assert f"passing over {out}/{STEP}1" in caplog.text
    error = TransientStorageError
    with pytest.raises(TransientStorageError):
        begun(f"{out}/{{checkpoint}}")


def test_a_local_name_with_signs_of_patterns_is_taken_by_the_letter(tmp_path: Path) -> None:
    output = f"{tmp_path}/o [1]*/{{checkpoint}}?[2]/s"
    begin(output.replace("{checkpoint}", f"{STEP}1"), f"{STEP}1")
    begin(f"{tmp_path}/o 1x/{STEP}2x2/s", f"{STEP}2")
    assert begun(output) == [output.replace("{checkpoint}", f"{STEP}1")]
