"""The generation job around its outputs: when Ray is started, when an output is claimed, and what ends a whole sweep."""

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jobs import generate
from jobs.generate import _generate
from pipeline import storage
from pipeline.checkpoints import save_model
from pipeline.errors import ClusterError, CommitConflict, ConfigError, NoAnswer, SwissrollError, TransientStorageError
from pipeline.generation import PartMaker
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.plans.commands import parse_generate
from pipeline.plans.generate_config import GenerateConfig
from pipeline.plans.generate_plan import GeneratePlan, plan_generation
from pipeline.plans.generate_plans import Unplanned, plan_all
from pipeline.runtime.generate_run import GenerateOutcome, claim_output, cleared_on_error, nothing_made
from pipeline.runtime.sweep import make_all
from pipeline.samples import SampleSet

NETWORK = UNetConfig(widths=(8, 16), blocks=1, attention=(False, False), norm_groups=4)
MODEL = ModelConfig(image=ImageConfig(size=8, channels=1, num_classes=3), network=NETWORK)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one checkpoint."""
    model = Model(MODEL, init_seed=1)
    checkpoint = tmp_path / "run" / "checkpoints" / "step-000000001"
    save_model(str(checkpoint), step=1, model=model, averages={0.1: model.network.state_dict()})
    return tmp_path / "run"


def job(run: Path, output: str) -> GenerateConfig:
    line = f"--checkpoint {run} --output {output} --num-samples 4 --part-rows 4 --batch-rows 4 --sampler-steps 2"
    return parse_generate(line.split()).job


def all_parts_made(run: Path, output: Path) -> SampleSet:
    """A set with all its parts and no manifest, as a job leaves it that is killed between the last part and the end."""
    begun = claim_output(plan_generation(job(run, str(output))))
    maker, samples = PartMaker(begun.checkpoint, begun.spec, begun.run_spec()), SampleSet(str(output))
    for part in begun.open_parts:
        samples.commit(part.first, maker.encode(part, maker.sample(part)), part.rows)
    return samples


def fails_with(error: SwissrollError) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_ray_is_started_where_parts_were_taken_away_since_the_plan(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    all_parts_made(run, output).publish(4)
    plan = plan_generation(job(run, str(output)))
    assert not plan.open_parts
    for folder in ("commits", "data"):
        next((output / folder).iterdir()).unlink()
    with pytest.raises(ClusterError, match="no cluster"):
        _generate(plan, fails_with(ClusterError("no cluster")))


def test_an_output_that_another_job_took_over_while_ray_started_is_not_claimed(run: Path) -> None:
    output = f"memory://{secrets.token_hex(8)}/out"
    plan = plan_generation(job(run, output))

    def slept() -> None:
        storage.put_once(storage.join(output, "lease/000000000099.holder"), b"{}")

    with pytest.raises(CommitConflict, match="another job took over"):
        _generate(plan, slept)
    found = storage.list_objects(output, recursive=True)
    assert [one.url for one in found if not one.url.startswith(f"{output}/lease/")] == []


class Store:
    """Makes outputs; some of them end with an error."""

    def __init__(self, **errors: SwissrollError) -> None:
        self.errors = errors
        self.asked: list[str] = []

    def make(self, plan: GeneratePlan) -> GenerateOutcome:
        name = plan.config.output.rpartition("/")[2]
        self.asked.append(name)
        if name in self.errors:
            raise self.errors[name]
        return replace(nothing_made(plan), finished=True)


SILENT = TransientStorageError("read_bytes failed: no answer; gave up after 9 attempts in 120.3 s", "s3://b/x")


def test_one_output_whose_store_did_not_answer_ends_no_other(run: Path, tmp_path: Path) -> None:
    plans = plan_all([job(run, str(tmp_path / name)) for name in "abcde"])
    store = Store(a=SILENT, b=ConfigError("of b alone"), c=SILENT, e=SILENT)
    outcomes, error = make_all(plans, store.make)
    assert error is None
    assert store.asked == ["a", "b", "c", "d", "e"]
    assert [outcome.error for outcome in outcomes] == [str(SILENT), "of b alone", str(SILENT), "", str(SILENT)]
    assert [outcome.finished for outcome in outcomes] == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("errors", "asked"),
    [
        ({"b": SILENT, "c": SILENT}, ["a", "b", "c"]),
        ({"b": NoAnswer("Ray is lost")}, ["a", "b"]),
        ({"b": ClusterError("no GPU any more")}, ["a", "b"]),
    ],
)
def test_what_concerns_all_ends_all_and_each_output_says_so(
    run: Path, tmp_path: Path, errors: dict[str, SwissrollError], asked: list[str]
) -> None:
    plans = plan_all([job(run, str(tmp_path / name)) for name in "abcde"])
    store = Store(**errors)
    outcomes, error = make_all(plans, store.make)
    assert error is errors[asked[-1]]
    assert store.asked == asked
    assert [outcome.output.rpartition("/")[2] for outcome in outcomes] == [*"abcde"]
    assert [outcome.error for outcome in outcomes[1 : len(asked)]] == [str(error)] * (len(asked) - 1)
    assert {outcome.error for outcome in outcomes[len(asked) :]} == {f"not tried: {error}"}


@pytest.mark.parametrize("end", ["silence", "stop"])
def test_an_output_that_was_not_tried_is_finished_only_if_readers_have_it(run: Path, tmp_path: Path, end: str) -> None:
    samples = {name: all_parts_made(run, tmp_path / name) for name in ("unpublished", "published")}
    samples["published"].publish(4)
    plans = plan_all([job(run, str(tmp_path / name)) for name in ("a", "b", *samples)])
    assert [dict(plan.describe())["samples"] for plan in plans[2:] if isinstance(plan, GeneratePlan)] == [
        "4, 4 of them there, the manifest still to be written",
        "4, 4 of them there, 0 parts to make",
    ]
    if end == "silence":
        outcomes, _ = make_all(plans, Store(a=SILENT, b=SILENT).make)
        told = f"not tried (all parts are there, the manifest is still to be written): {SILENT}"
    else:
        outcomes, _ = make_all(plans, lambda plan: nothing_made(plan, stopped=True))
        told = ""
    assert [(one.rows, one.finished, one.error) for one in outcomes[2:]] == [(4, False, told), (4, True, "")]
    finished = claim_output(plan_generation(job(run, str(tmp_path / "unpublished"))))
    assert nothing_made(finished).finished


@pytest.mark.parametrize("is_written", [True, False])
def test_a_sweep_that_a_silent_store_ended_has_a_summary_and_its_own_error(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], is_written: bool
) -> None:
    for name in ("step-000000002", "step-000000003"):
        shutil.copytree(run / "checkpoints" / "step-000000001", run / "checkpoints" / name)
    line = f"--checkpoint {run}/checkpoints/* --output {tmp_path}/out/{{checkpoint}} --num-samples 4 --batch-rows 4"
    monkeypatch.setattr(generate, "arguments", lambda: [*line.split(), "--summary", str(tmp_path / "summary.json")])
    monkeypatch.setattr(generate, "_generate", lambda plan, start_ray: fails_with(SILENT)())
    if not is_written:
        other = TransientStorageError("put_replace failed", "s3://b/summary")
        monkeypatch.setattr(generate, "write_summary", lambda url, outcome: fails_with(other)())
    with pytest.raises(TransientStorageError, match="no answer"):
        generate.main()
    if not is_written:
        assert "no summary: put_replace failed" in capfd.readouterr().err
        return
    told = json.loads((tmp_path / "summary.json").read_text())
    assert [one["error"] for one in told] == [str(SILENT), str(SILENT), f"not tried: {SILENT}"]


def test_a_refused_command_leaves_no_summary(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(run / "checkpoints" / "step-000000001", run / "checkpoints" / "step-000000002")
    line = f"--checkpoint {run}/checkpoints/* --output {tmp_path}/out/{{checkpoint}} --num-samples 4 --batch-rows 4"
    monkeypatch.setattr(generate, "arguments", lambda: [*line.split(), "--summary", str(tmp_path / "summary.json")])
    monkeypatch.setattr(generate, "_generate", lambda plan, start_ray: fails_with(ClusterError("no GPU"))())
    with pytest.raises(ClusterError, match="no GPU"):
        generate.main()
    assert not (tmp_path / "summary.json").exists()


def test_planning_passes_over_one_silent_store_and_ends_at_the_second_in_a_row(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists = storage.exists
    asked: set[str] = set()

    def answered(url: str) -> bool:
        if "/silent" in url:
            asked.add(next(part for part in url.split("/") if part.startswith("silent")))
            raise TransientStorageError("no answer", url)
        return exists(url)

    def planned(*names: str) -> list[GeneratePlan | Unplanned]:
        return plan_all([job(run, str(tmp_path / name)) for name in names])

    monkeypatch.setattr(storage, "exists", answered)
    plans = planned("silent-1", "a", "silent-2")
    assert [isinstance(plan, Unplanned) for plan in plans] == [True, False, True]
    asked.clear()
    with pytest.raises(TransientStorageError, match="no answer"):
        planned("a", "silent-1", "silent-2", "silent-3")
    assert asked == {"silent-1", "silent-2"}


@pytest.mark.parametrize(
    ("error", "cleared"), [(ConfigError("of one output"), ["workers", "hub"]), (NoAnswer("Ray is lost"), [])]
)
def test_a_lost_ray_is_not_asked_to_clear_away(error: SwissrollError, cleared: list[str]) -> None:
    done: list[str] = []
    with pytest.raises(type(error)), cleared_on_error(lambda: done.append("workers"), lambda: done.append("hub")):
        raise error
    assert done == cleared
