"""The plan of a generation job: the checkpoint found, the output compared, the open parts listed, nothing written."""

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import storage
from pipeline.errors import ConfigError, PermanentStorageError, PermissionDenied, ResumeMismatch, TransientStorageError
from pipeline.generation import encode_png
from pipeline.plans.commands import parse_generate
from pipeline.plans.generate_config import GenerateConfig
from pipeline.plans.generate_plan import GeneratePlan, plan_generation
from pipeline.plans.generate_plans import Unplanned, plan_all
from pipeline.samples import PartRange, PartRows, SampleSet, encode_part


def planned(run: str, output: Path, *flags: str, samples: int = 25) -> GeneratePlan:
    line = [
        "--checkpoint",
        run,
        "--output",
        str(output),
        "--num-samples",
        str(samples),
        "--part-rows",
        "10",
        "--batch-rows",
        "4",
    ]
    return plan_generation(parse_generate([*line, *flags]).job)


def commit(plan: GeneratePlan, part: PartRange) -> None:
    """Commits a part of a plan, with other pictures than the model would draw."""
    samples = SampleSet(plan.config.output)
    samples.open(plan.run_spec(), num_samples=plan.config.num_samples)
    image = encode_png(np.zeros((8, 8, 1), np.uint8))
    labels = plan.spec.labels_of(part.first, part.rows)
    rows = PartRows(first=part.first, images=[image] * part.rows, labels=None if labels is None else labels.tolist())
    data = encode_part(rows, plan.run_spec())
    samples.commit(part.first, data, part.rows)


def test_a_new_output_has_all_parts_open_and_stays_untouched(run: str, tmp_path: Path) -> None:
    plan = planned(run, tmp_path / "out")
    # Twelve is the smallest multiple of four that is not below ten.
    assert plan.open_parts == [PartRange(0, 12), PartRange(12, 12), PartRange(24, 1)]
    assert (plan.spec.part_rows, plan.spec.batch_rows, plan.committed_rows) == (12, 4, 0)
    assert plan.origin.checkpoint == f"{run}/checkpoints/step-000000001"
    assert plan.spec.labels == tuple(range(10))
    assert not (tmp_path / "out").exists()


def test_a_description_says_what_will_be_made(run: str, tmp_path: Path) -> None:
    told = dict(planned(run, tmp_path / "out", "--sampler", "heun", "--sampler-steps", "7", "--guidance", "1.5").describe())
    assert told["samples"] == "25, 0 of them there, 3 parts to make"
    assert told["sampler"] == "heun, 13 network evaluations, guidance 1.5"
    assert told["images"] == "1x8x8, labels all, seed 0"
    assert told["parts"] == "12 rows, sampled 4 at a time, parquet with png"


def test_parts_that_are_there_are_not_made_again(run: str, tmp_path: Path) -> None:
    plan = planned(run, tmp_path / "out")
    commit(plan, plan.open_parts[1])
    again = planned(run, tmp_path / "out")
    assert again.open_parts == [PartRange(0, 12), PartRange(24, 1)]
    assert again.committed_rows == 12
    for part in again.open_parts:
        commit(again, part)
    assert planned(run, tmp_path / "out").open_parts == []


def test_a_set_can_grow_and_not_shrink(run: str, tmp_path: Path) -> None:
    plan = planned(run, tmp_path / "out")
    for part in plan.open_parts:
        commit(plan, part)
    # The short last part stays as it is; the rows after it are filled up to the next border.
    assert planned(run, tmp_path / "out", samples=40).open_parts == [PartRange(25, 11), PartRange(36, 4)]
    with pytest.raises(ResumeMismatch, match="got 20 samples to make, expected at least the 25 committed"):
        planned(run, tmp_path / "out", samples=20)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (("--seed", "1"), "generation.seed"),
        (("--sampler", "ddim"), "generation.sampler.name"),
        (("--sampler-steps", "9"), "generation.sampler.steps"),
        (("--guidance", "2"), "generation.guidance"),
        (("--labels", "3"), "generation.labels"),
        (("--part-rows", "20"), "generation.part_rows"),
        (("--batch-rows", "2"), "generation.batch_rows"),
    ],
)
def test_an_output_of_another_specification_is_refused(run: str, tmp_path: Path, flags: tuple[str, ...], name: str) -> None:
    plan = planned(run, tmp_path / "out")
    commit(plan, plan.open_parts[0])
    assert planned(run, tmp_path / "out", "--num-workers", "3", "--max-part-failures", "0").committed_rows == 12
    with pytest.raises(ResumeMismatch, match=f"belongs to another run: .*{name}: got "):
        planned(run, tmp_path / "out", *flags)


def published(run: str, output: Path) -> SampleSet:
    plan = planned(run, output)
    for part in plan.open_parts:
        commit(plan, part)
    assert not planned(run, output).is_published
    samples = SampleSet(str(output))
    samples.publish(25)
    assert planned(run, output).is_published
    return samples


@pytest.mark.parametrize("kind", ["folder", "pipe", "text"])
def test_what_is_no_manifest_in_its_place_is_for_the_job_to_tell(run: str, tmp_path: Path, kind: str) -> None:
    samples = published(run, tmp_path / "out")
    there = tmp_path / "out" / "manifest.json"
    there.unlink()
    {"folder": there.mkdir, "pipe": partial(os.mkfifo, there), "text": partial(there.write_text, "{")}[kind]()
    again = planned(run, tmp_path / "out")
    assert (again.open_parts, again.is_published) == ([], False)
    if kind == "text":
        samples.publish(25)
        assert planned(run, tmp_path / "out").is_published
        return
    with pytest.raises(PermanentStorageError, match=r"verify\.py --repair moves it to quarantine/ \(.*manifest\.json\)"):
        samples.publish(25)


@pytest.mark.parametrize("error", [TransientStorageError("no answer", "x"), PermissionDenied("permission denied", "x")])
def test_a_manifest_that_cannot_be_read_keeps_no_set_from_being_planned(
    run: str, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(run, tmp_path / "out")
    read = storage.read_bytes

    def read_others(url: str) -> bytes:
        if url.endswith("manifest.json"):
            raise error
        return read(url)

    monkeypatch.setattr(storage, "read_bytes", read_others)
    assert not planned(run, tmp_path / "out").is_published


def test_a_manifest_that_contradicts_the_commits_is_none_of_the_set(run: str, tmp_path: Path) -> None:
    samples = published(run, tmp_path / "out")
    manifest = samples.publish(25)
    other = replace(manifest, parts=(replace(manifest.parts[0], xxh3_128="0" * 32), *manifest.parts[1:]))
    (tmp_path / "out" / "manifest.json").write_bytes(other.to_bytes())
    assert not planned(run, tmp_path / "out").is_published
    samples.publish(25)
    assert planned(run, tmp_path / "out").is_published


@pytest.mark.parametrize("flag", ["checkpoint", "output", "num_samples"])
def test_a_missing_flag_is_named(run: str, tmp_path: Path, flag: str) -> None:
    config = GenerateConfig(checkpoint=run, output=str(tmp_path), num_samples=1)
    missing = f"--{flag.replace('_', '-')} is missing; expected a"
    with pytest.raises(ConfigError, match=missing):
        plan_generation(replace(config, **{flag: 0 if flag == "num_samples" else ""}))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--labels", "10"), "got class 10, expected 0 to 9"),
        (("--sampler-steps", "100000"), "100000"),
        (("--eta", "2", "--sampler", "ddim"), "eta"),
        (("--sampler-steps", "1001"), "1001"),
        (("--guidance", "nan"), "guidance: got nan, expected a finite number"),
        (("--guidance=-inf",), "guidance: got -inf"),
        (("--guidance", "1e300"), "guidance: got 1e.300, expected a finite number of float32"),
    ],
)
def test_what_the_checkpoint_cannot_do_is_refused_before_anything_starts(
    run: str, tmp_path: Path, flags: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        planned(run, tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_is_missing_or_damaged_is_refused(run: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone does not exist; expected a run folder or a checkpoint folder"):
        planned(str(tmp_path / "gone"), tmp_path / "out")
    copy = shutil.copytree(run, tmp_path / "run")
    checkpoint = copy / "checkpoints" / "step-000000001"
    (checkpoint / "model.json").write_text((checkpoint / "model.json").read_text().replace("8", "9", 1))
    with pytest.raises(ConfigError, match=r"model\.json.*SHA-256|SHA-256.*model\.json"):
        planned(str(copy), tmp_path / "out")
    (checkpoint / "model.json").unlink()
    with pytest.raises(ConfigError, match=r"model\.json is missing"):
        planned(str(checkpoint), tmp_path / "out")


def test_the_checkpoint_found_first_stays_the_one(run: str, tmp_path: Path) -> None:
    """The run goes on and has a newer checkpoint by the time the job is started again."""
    growing = Path(shutil.copytree(run, tmp_path / "run"))
    plan = planned(f"{growing}@latest", tmp_path / "out")
    plan.origin.write(plan.config.output)
    commit(plan, plan.open_parts[0])
    later = growing / "checkpoints" / "step-000000002"
    shutil.copytree(growing / "checkpoints" / "step-000000001", later)
    assert planned(str(growing), tmp_path / "other").origin.checkpoint == str(later)
    for again in (str(growing), f"{growing}@latest", f"{growing}@latest/"):
        assert planned(again, tmp_path / "out").origin == plan.origin
    # Named itself, another folder is taken at its word; its digest is the same here.
    assert planned(str(later), tmp_path / "out").origin.checkpoint == str(later)


def test_of_two_jobs_that_find_different_checkpoints_one_is_refused(run: str, tmp_path: Path) -> None:
    plan = planned(run, tmp_path / "out")
    plan.origin.write(plan.config.output)
    plan.origin.write(plan.config.output)
    with pytest.raises(ResumeMismatch, match="another job has just begun"):
        replace(plan.origin, checkpoint="elsewhere").write(plan.config.output)


def test_counts_and_conditions_say_how_many_samples(run: str, tmp_path: Path) -> None:
    def asked(samples: int, *flags: str) -> GeneratePlan:
        return planned(run, tmp_path / "out", *flags, samples=samples)

    assert asked(0, "--labels", "3:5,1:2").config.num_samples == 7
    assert asked(6, "--labels", "3:5,1:2").config.num_samples == 6
    with pytest.raises(ConfigError, match="got 8, expected at most 7"):
        asked(8, "--labels", "3:5,1:2")
    file = tmp_path / "conditions.parquet"
    pq.write_table(pa.table({"label": [1, 2, 3], "key": ["a", "b", "c"]}), file)
    plan = asked(0, "--conditions", str(file))
    assert plan.config.num_samples == 3
    assert plan.spec.conditions_sha256
    with pytest.raises(ConfigError, match="both --labels 3 and --conditions"):
        asked(0, "--conditions", str(file), "--labels", "3")
    with pytest.raises(ConfigError, match="--num-samples is missing"):
        asked(0)


def test_of_several_outputs_those_are_planned_that_can_be(run: str, tmp_path: Path) -> None:
    good = planned(run, tmp_path / "good").config
    bad = replace(good, checkpoint=str(tmp_path / "gone"), output=str(tmp_path / "bad"))
    first, second = plan_all([bad, good])
    assert isinstance(first, Unplanned)
    assert first.output == bad.output
    assert "gone does not exist" in str(first.error)
    assert isinstance(second, GeneratePlan)
    with pytest.raises(ConfigError, match="gone does not exist"):
        plan_all([bad, bad])


def test_a_finished_set_does_not_mind_that_its_conditions_are_gone(run: str, tmp_path: Path) -> None:
    file = tmp_path / "conditions.parquet"
    pq.write_table(pa.table({"label": [row % 10 for row in range(40)]}), file)
    flags = "--conditions", str(file)
    plan = planned(run, tmp_path / "out", *flags)
    commit(plan, plan.open_parts[0])
    moved = file.rename(tmp_path / "moved.parquet")
    with pytest.raises(ConfigError, match="no such object"):
        planned(run, tmp_path / "out", *flags)
    for part in plan.open_parts[1:]:
        commit(plan, part)
    for samples in (0, 25):  # without a number, as many as were asked for
        again = planned(run, tmp_path / "out", *flags, samples=samples)
        assert (again.open_parts, again.config.num_samples, again.spec) == ([], 25, plan.spec)
    with pytest.raises(ConfigError, match="no such object"):
        planned(run, tmp_path / "out", *flags, samples=26)
    with pytest.raises(ResumeMismatch, match=r"generation\.seed"):
        planned(run, tmp_path / "out", *flags, "--seed", "1")
    assert planned(run, tmp_path / "out", "--conditions", str(moved), samples=40).open_parts == [
        PartRange(25, 11),
        PartRange(36, 4),
    ]
    with pytest.raises(ConfigError, match="no such object"):
        planned(run, tmp_path / "new", *flags)


@pytest.mark.parametrize(
    "below", ["data", "data/x/y", "commits", "goals/x", "checkpoint", "checkpoint/0123/unet", "quarantine"]
)
def test_an_output_in_a_folder_of_another_set_is_refused(run: str, tmp_path: Path, below: str) -> None:
    plan = planned(run, tmp_path / "outer")
    commit(plan, plan.open_parts[0])
    with pytest.raises(ConfigError, match=rf"--output: got .*{below}, which is in .*/ of the sample set {tmp_path}/outer;"):
        planned(run, tmp_path / "outer" / below)
    (tmp_path / "outer" / "run.json").write_text("{")
    with pytest.raises(ConfigError, match="of the sample set"):
        planned(run, tmp_path / "outer" / below)


@pytest.mark.parametrize("output", ["outer/inner", "outer/datasets", "data", "data/commits/x", "outer"])
def test_an_output_beside_the_folders_of_a_set_is_not_refused(run: str, tmp_path: Path, output: str) -> None:
    plan = planned(run, tmp_path / "outer")
    commit(plan, plan.open_parts[0])
    (tmp_path / "run.json").write_text('{"mine": 1}')
    planned(run, tmp_path / output)
