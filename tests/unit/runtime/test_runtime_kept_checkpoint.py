"""The copy of its checkpoint that a set keeps is proved with the set, and mended from the original while that is there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import jobs.verify as job
from pipeline.checkpoints import save_model
from pipeline.generation import PartMaker
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.plans.commands import parse_generate
from pipeline.plans.generate_plan import GeneratePlan, plan_generation
from pipeline.runtime.generate_run import claim_output
from pipeline.samples import SampleSet

NETWORK = UNetConfig(widths=(8, 16), blocks=1, attention=(False, False), norm_groups=4)
MODEL = ModelConfig(image=ImageConfig(size=8, channels=1, num_classes=3), network=NETWORK)


def planned(folder: Path, output: Path, samples: int = 4) -> GeneratePlan:
    line = f"--checkpoint {folder}/run --output {output} --num-samples {samples} --part-rows 4 --batch-rows 4 --sampler-steps 2"
    return plan_generation(parse_generate(line.split()).job)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of one checkpoint and a finished set made from it."""
    folder = tmp_path_factory.mktemp("whole")
    model = Model(MODEL, init_seed=1)
    save_model(str(folder / "run/checkpoints/step-000000001"), step=1, model=model, averages={0.1: model.network.state_dict()})
    plan = claim_output(planned(folder, folder / "set"))
    maker, samples = PartMaker(plan.checkpoint, plan.spec, plan.run_spec()), SampleSet(plan.config.output)
    for part in plan.open_parts:
        samples.commit(part.first, maker.encode(part, maker.sample(part)), part.rows)
    samples.publish(4)
    return folder


@pytest.fixture
def output(whole: Path, tmp_path: Path) -> Path:
    """A copy of the set, to be damaged."""
    return Path(shutil.copytree(whole / "set", tmp_path / "set"))


def copy_in(output: Path) -> Path:
    (copy,) = (output / "checkpoint").iterdir()
    return copy


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != ".lock"
    }


def flip(file: Path) -> None:
    bad = bytearray(file.read_bytes())
    bad[len(bad) // 2] ^= 1
    file.write_bytes(bad)


def verified(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *line: str) -> tuple[int, str]:
    monkeypatch.setattr(job, "arguments", lambda: list(line))
    code = job.main()
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda copy: flip(copy / "unet" / "diffusion_pytorch_model.safetensors"), "SHA-256"),
        (lambda copy: flip(copy / "model.json"), "SHA-256"),
        (lambda copy: flip(copy / "checkpoint.json"), "damaged checkpoint|checkpoint format|SHA-256"),
        (lambda copy: (copy / "unet" / "config.json").unlink(), "the file is missing"),
        (lambda copy: (copy / "checkpoint.json").unlink(), "incomplete copy"),
    ],
)
def test_a_damaged_copy_is_found_and_copied_again(
    harm: Callable[[Path], None],
    says: str,
    output: Path,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = copy_in(output)
    harm(copy)
    code, said = verified(monkeypatch, capsys, str(output))
    assert code == 1
    (problem,) = [line for line in said.splitlines() if line.startswith("problem: ")]
    assert problem.startswith(f"problem: checkpoint/{copy.name}: ")
    assert any(one in problem for one in says.split("|")), problem
    code, said = verified(monkeypatch, capsys, str(output), "--repair")
    assert code == 0, said
    assert f"repaired: checkpoint/{copy.name}: copied again from {whole}/run/checkpoints/step-000000001" in said
    assert files(output) == files(whole / "set")


def test_a_damaged_copy_whose_original_is_gone_is_named_and_keeps_nothing_else_from_being_mended(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = copy_in(output)
    flip(copy / "model.json")
    (output / "README.md").unlink()
    origin = output / "origin.json"
    origin.write_text('{"given": "/gone", "checkpoint": "/gone/checkpoints/step-000000001"}')
    (output / "manifest.json").write_bytes(b"{")
    code, said = verified(monkeypatch, capsys, str(output), "--repair")
    assert code == 1
    assert f"not repaired: checkpoint/{copy.name}: " in said
    assert "/gone/checkpoints/step-000000001 is gone: put it back, or delete" in said
    assert "repaired: manifest.json" in said
    shutil.rmtree(output / "checkpoint")  # as may be done
    assert verified(monkeypatch, capsys, str(output))[0] == 0


def test_a_finished_set_is_found_finished_though_its_copy_is_damaged_and_the_original_gone(
    output: Path, tmp_path: Path
) -> None:
    flip(copy_in(output) / "model.json")
    given = str(tmp_path / "run")
    (output / "origin.json").write_text(f'{{"given": "{given}", "checkpoint": "{given}/checkpoints/step-000000001"}}')
    assert planned(tmp_path, output).open_parts == []
    with pytest.raises(Exception, match="copy of its checkpoint is damaged") as damaged:
        claim_output(planned(tmp_path, output, samples=8))
    assert type(damaged.value).__name__ == "CorruptDataError"


def test_a_copy_that_was_killed_and_damaged_is_proved_before_parts_are_made(output: Path, whole: Path) -> None:
    flip(copy_in(output) / "unet" / "diffusion_pytorch_model.safetensors")
    (copy_in(output) / "checkpoint.json").unlink()
    claim_output(planned(whole, output, samples=8))
    assert files(copy_in(output)) == files(copy_in(whole / "set"))
