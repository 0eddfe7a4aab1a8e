"""The generation job around its outputs: when Ray is started, when an output is claimed, and what ends a whole sweep."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.generate import _generate, _generate_or_say_why
from pipeline import storage
from pipeline.checkpoints import save_model
from pipeline.errors import ClusterError, CommitConflict, ConfigError, NoAnswer, SwissrollError, TransientStorageError
from pipeline.generation import PartMaker
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.plans.commands import parse_generate
from pipeline.plans.generate_config import GenerateConfig
from pipeline.plans.generate_plan import plan_generation
from pipeline.plans.generate_plans import plan_all
from pipeline.runtime.generate_run import claim_output, cleared_on_error
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


def fails_with(error: SwissrollError) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_ray_is_started_where_parts_were_taken_away_since_the_plan(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    begun = claim_output(plan_generation(job(run, str(output))))
    maker, samples = PartMaker(begun.checkpoint, begun.spec, begun.run_spec()), SampleSet(str(output))
    for part in begun.open_parts:
        samples.commit(part.first, maker.encode(part, maker.sample(part)), part.rows)
    samples.publish(4)
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


def test_a_store_that_does_not_answer_ends_a_sweep_and_is_not_waited_for_with_each_output(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_generation(job(run, str(tmp_path / "out")))
    with pytest.raises(TransientStorageError, match="no answer"):
        _generate_or_say_why(plan, fails_with(TransientStorageError("no answer", "s3://b")))
    assert _generate_or_say_why(plan, fails_with(ConfigError("of one output"))).error == "of one output"
    exists, silent = storage.exists, str(tmp_path / "silent")

    def answered(url: str) -> bool:
        if url.startswith(silent):
            raise TransientStorageError("no answer", url)
        return exists(url)

    monkeypatch.setattr(storage, "exists", answered)
    with pytest.raises(TransientStorageError, match="no answer"):
        plan_all([job(run, silent), job(run, str(tmp_path / "other"))])


@pytest.mark.parametrize(
    ("error", "cleared"), [(ConfigError("of one output"), ["workers", "hub"]), (NoAnswer("Ray is lost"), [])]
)
def test_a_lost_ray_is_not_asked_to_clear_away(error: SwissrollError, cleared: list[str]) -> None:
    done: list[str] = []
    with pytest.raises(type(error)), cleared_on_error(lambda: done.append("workers"), lambda: done.append("hub")):
        raise error
    assert done == cleared
