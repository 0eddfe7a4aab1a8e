"""A set is repaired after what it was made from has moved: the user says where to, and another one is refused by its digest."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import jobs.verify as job
from pipeline.checkpoints import resolve, save_model, without_latest
from pipeline.errors import ConfigError
from pipeline.generation import PartMaker
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.plans.commands import parse_generate
from pipeline.plans.generate_plan import plan_generation
from pipeline.plans.verify_command import parse_verify
from pipeline.runtime.generate_run import claim_output
from pipeline.samples import SampleSet

NETWORK = UNetConfig(widths=(8, 16), blocks=1, attention=(False, False), norm_groups=4)
MODEL = ModelConfig(image=ImageConfig(size=8, channels=1, num_classes=3), network=NETWORK)
CHECKPOINT = "checkpoints/step-000000001"


def saved(run: Path, init_seed: int) -> Path:
    model = Model(MODEL, init_seed=init_seed)
    save_model(str(run / CHECKPOINT), step=1, model=model, averages={0.1: model.network.state_dict()})
    return run


def conditions(file: Path, label: int) -> Path:
    pq.write_table(pa.table({"label": [label] * 8}), file)
    return file


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A finished set of two parts, the second damaged; its copy of the checkpoint is deleted, and the rest moved."""
    run, file = saved(tmp_path / "run", 1), conditions(tmp_path / "conditions.parquet", 2)
    line = f"--checkpoint {run} --output {tmp_path}/set --conditions {file} --part-rows 4 --batch-rows 4 --sampler-steps 2"
    plan = claim_output(plan_generation(parse_generate(line.split()).job))
    maker, samples = PartMaker(plan.checkpoint, plan.spec, plan.run_spec(), str(file)), SampleSet(plan.config.output)
    for part in plan.open_parts:
        samples.commit(part.first, maker.encode(part, maker.sample(part)), part.rows)
    samples.publish(8)
    shutil.rmtree(tmp_path / "set" / "checkpoint")
    shutil.move(run, tmp_path / "moved")
    shutil.move(file, tmp_path / "moved.parquet")
    part = tmp_path / "set" / "data" / "part-000000000004.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    return tmp_path / "set"


def repaired(monkeypatch: pytest.MonkeyPatch, *line: object) -> int:
    monkeypatch.setattr(job, "arguments", lambda: [str(part) for part in line])
    return job.main()


def test_a_set_is_repaired_from_where_all_of_it_is_now(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"is gone.*with --checkpoint"):
        repaired(monkeypatch, output, "--repair")
    with pytest.raises(ConfigError, match=r"conditions\.parquet is gone; name them with --conditions"):
        repaired(monkeypatch, output, "--repair", "--checkpoint", tmp_path / "moved")
    there = ("--checkpoint", tmp_path / "moved" / CHECKPOINT, f"--conditions={tmp_path}/moved.parquet")
    assert repaired(monkeypatch, output, "--repair", *there) == 0


def test_without_its_origin_it_is_repaired_too(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (output / "origin.json").unlink()
    with pytest.raises(ConfigError, match=r"no origin\.json that says where the checkpoint is; .*or say it with --checkpoint"):
        repaired(monkeypatch, output, "--repair")
    with pytest.raises(ConfigError, match=r"no origin\.json that says where the conditions are; name them with --conditions"):
        repaired(monkeypatch, output, "--repair", "--checkpoint", tmp_path / "moved")
    there = ("--checkpoint", tmp_path / "moved", "--conditions", tmp_path / "moved.parquet")
    assert repaired(monkeypatch, output, "--repair", *there) == 0


def test_others_than_the_sets_own_are_refused_by_their_digests(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, own = saved(tmp_path / "other", 2), tmp_path / "moved"
    with pytest.raises(ConfigError, match=r"--checkpoint: got .*/other/checkpoints/step-000000001 with the digest .*expected"):
        repaired(monkeypatch, output, "--repair", "--checkpoint", other)
    with pytest.raises(ConfigError, match=r"gone does not exist"):
        repaired(monkeypatch, output, "--repair", "--checkpoint", tmp_path / "gone")
    wrong = conditions(tmp_path / "other.parquet", 1)
    for file, says in ((wrong, r"got .*/other\.parquet with the SHA-256 .*expected"), (tmp_path / "gone", "gone")):
        with pytest.raises(ConfigError, match=f"--conditions: .*{says}"):
            repaired(monkeypatch, output, "--repair", "--checkpoint", own, "--conditions", file)


@pytest.mark.parametrize("form", ["{}", "{}/", "{}@latest", "{}@latest/", "{}/" + CHECKPOINT])
def test_a_run_is_named_as_for_generation(form: str, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = (form.format(run) for run in (tmp_path / "moved", saved(tmp_path / "other", 2)))
    file = f"--conditions={tmp_path}/moved.parquet"
    refusal = rf"--checkpoint: got {tmp_path}/other/{CHECKPOINT} with the digest [0-9a-f]{{12}}, expected that of the set's"
    for _ in ("a part is broken", "nothing is"):
        with pytest.raises(ConfigError, match=refusal):
            repaired(monkeypatch, output, "--repair", "--checkpoint", other, file)
        with pytest.raises(ConfigError, match=r"no checkpoint: .*/gone.* does not exist"):
            repaired(monkeypatch, output, "--repair", "--checkpoint", form.format(tmp_path / "gone"), file)
        assert repaired(monkeypatch, output, "--repair", "--checkpoint", own, file) == 0


def test_latest_is_a_runs_newest_checkpoint_and_only_at_the_end(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", 1)
    assert resolve(f"{run}@latest/") == resolve(str(run)) == str(run / CHECKPOINT)
    assert without_latest("runs/x@latest-2") == "runs/x@latest-2"


@pytest.mark.parametrize("whole", [True, False])
def test_others_are_refused_where_no_part_is_broken(
    whole: bool, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ("--checkpoint", tmp_path / "moved", f"--conditions={tmp_path}/moved.parquet")
    assert repaired(monkeypatch, output, "--repair", *own) == 0
    if not whole:
        (output / "goals" / "mine").write_text("no goal")
    wrong, other = conditions(tmp_path / "other.parquet", 1), saved(tmp_path / "other", 2)
    with pytest.raises(ConfigError, match=r"--conditions: got .*/other\.parquet with the SHA-256"):
        repaired(monkeypatch, output, "--repair", "--conditions", wrong)
    with pytest.raises(ConfigError, match=r"--checkpoint: got .*/other/checkpoints"):
        repaired(monkeypatch, output, "--repair", "--checkpoint", other)
    assert (output / "goals" / "mine").exists() != whole
    assert repaired(monkeypatch, output, "--repair", *own) == 0


def test_where_run_json_is_damaged_others_are_refused_once_it_is_mended(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (output / "run.json").write_text("{")
    (output / "goals" / "mine").write_text("no goal")
    wrong = conditions(tmp_path / "other.parquet", 1)
    with pytest.raises(ConfigError, match=r"--conditions: got .*/other\.parquet with the SHA-256"):
        repaired(monkeypatch, output, "--repair", "--checkpoint", tmp_path / "moved", "--conditions", wrong)
    assert (output / "goals" / "mine").exists()


def test_conditions_for_a_set_that_has_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"--checkpoint {saved(tmp_path / 'run', 1)} --output {tmp_path}/set --num-samples 4 --batch-rows 4 --sampler-steps 2"
    claim_output(plan_generation(parse_generate(line.split()).job))
    with pytest.raises(ConfigError, match=r"--conditions: .*made without a file of conditions"):
        repaired(monkeypatch, tmp_path / "set", "--repair", "--conditions", conditions(tmp_path / "c.parquet", 1))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("set --checkpoint c", "--checkpoint c without --repair, expected both"),
        ("set --repair --conditions", "--conditions: got no value"),
        ("set --checkpoint --repair", "--checkpoint: got no value"),
        ("set --repair --checkpoint=", "--checkpoint: got no value"),
        ("set --repair --unknown", "usage: "),
    ],
)
def test_mistakes_are_named(line: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_verify(line.split())
