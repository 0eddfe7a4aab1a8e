"""An output that is claimed keeps its checkpoint: it goes on, grows and is repaired when training has removed the original."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xxhash

from jobs import generate
from pipeline import storage
from pipeline.checkpoints import save_model
from pipeline.errors import ConfigError, CorruptDataError, PermissionDenied, ResumeMismatch
from pipeline.generation import PartMaker
from pipeline.generation.repair import repair
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.plans.commands import parse_generate
from pipeline.plans.generate_plan import GeneratePlan, plan_generation
from pipeline.runtime.generate_run import claim_output
from pipeline.samples import Origin, SampleSet, load_origin, verify

NETWORK = UNetConfig(widths=(8, 16), blocks=1, attention=(False, False), norm_groups=4)
MODEL = ModelConfig(image=ImageConfig(size=8, channels=1, num_classes=3), network=NETWORK)


def save(run: Path, step: int) -> Path:
    """A checkpoint whose weights go by its step."""
    model = Model(MODEL, init_seed=step)
    checkpoint = run / "checkpoints" / f"step-{step:09d}"
    save_model(str(checkpoint), step=step, model=model, averages={0.1: model.network.state_dict()})
    return checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one checkpoint."""
    save(tmp_path / "run", 1)
    return tmp_path / "run"


def planned(run: Path, output: Path, samples: int = 12) -> GeneratePlan:
    line = f"--num-samples {samples} --part-rows 4 --batch-rows 4 --sampler-steps 2"
    return plan_generation(parse_generate(["--checkpoint", f"{run}@latest", "--output", str(output), *line.split()]).job)


def make(plan: GeneratePlan, parts: int | None = None) -> None:
    """Makes parts as a worker does, and publishes the set if none is left."""
    samples = SampleSet(plan.config.output)
    maker = PartMaker(plan.checkpoint, plan.spec, plan.run_spec())
    for part in plan.open_parts[:parts]:
        samples.commit(part.first, maker.encode(part, maker.sample(part)), part.rows, maker.suffix)
    if parts is None:
        samples.publish(plan.config.num_samples)


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_an_output_goes_on_grows_and_is_repaired_without_the_original(run: Path, tmp_path: Path) -> None:
    output, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    make(claim_output(planned(run, undisturbed, 20)))
    make(claim_output(planned(run, output)), parts=1)
    save(run, 2)
    shutil.rmtree(run / "checkpoints" / "step-000000001")
    again = claim_output(planned(run, output))
    assert (again.committed_rows, again.checkpoint.rpartition("/")[0]) == (4, f"{output}/checkpoint")
    make(again)
    assert planned(run, output).open_parts == []
    make(claim_output(planned(run, output, 20)))
    assert {**files(output), "goals": b""} == {**files(undisturbed), "goals": b"", "goals/000000000012": b""}
    part = output / "data" / "part-000000000004.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    assert repair(verify(str(output))).failed == ()
    assert verify(str(output)).ok


def test_a_set_that_is_done_needs_no_checkpoint_and_any_other_says_what_is_gone(run: Path, tmp_path: Path) -> None:
    done, begun = tmp_path / "done", tmp_path / "begun"
    make(claim_output(planned(run, done)))
    make(claim_output(planned(run, begun)), parts=1)
    copy = shutil.copytree(run / "checkpoints" / "step-000000001", tmp_path / "moved")
    for folder in (run, done / "checkpoint", begun / "checkpoint"):  # as in outputs that were made before there were copies
        shutil.rmtree(folder)
    before = files(done)
    assert claim_output(planned(run, done)).open_parts == []
    assert files(done) == before
    gone = rf"the checkpoint that {begun} was begun with is gone.*{run}/checkpoints/step-000000001: put it back"
    with pytest.raises(ConfigError, match=gone):
        planned(run, begun)
    part = next((done / "data").iterdir())
    part.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"is gone.*put it back"):
        repair(verify(str(done)))
    make(claim_output(planned(copy, begun)))
    assert verify(str(begun)).ok


def test_a_killed_copy_is_completed_and_one_of_another_checkpoint_removed(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    plan = claim_output(planned(run, output))
    whole = files(output)
    (Path(plan.checkpoint) / "checkpoint.json").unlink()
    shutil.copytree(plan.checkpoint, output / "checkpoint" / "0123456789ab")
    assert claim_output(planned(run, output)).checkpoint == plan.checkpoint
    assert files(output) == whole


def test_what_is_no_copy_stays_though_it_lies_where_copies_do(run: Path, tmp_path: Path) -> None:
    """An output may be named that is somebody's folder of models, and the checkpoint one of them."""
    output = tmp_path / "models"
    shutil.copytree(run / "checkpoints" / "step-000000001", output / "checkpoint" / "deadbeef0000")
    (output / "checkpoint" / "notes.txt").write_text("mine")
    before = files(output / "checkpoint")
    line = f"--checkpoint {output}/checkpoint/deadbeef0000 --output {output} --num-samples 4 --batch-rows 4 --sampler-steps 2"
    make(claim_output(plan_generation(parse_generate(line.split()).job)))
    after = files(output / "checkpoint")
    assert {name: after[name] for name in before} == before


def test_a_project_folder_as_output_is_refused_when_the_job_is_planned(run: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "README.md").write_text("precious")
    with pytest.raises(ConfigError, match=rf"has README\.md, expected none of these names.*name another output \({project}\)"):
        planned(run, project)
    assert files(project) == {"README.md": b"precious"}


def test_a_first_start_that_was_killed_before_run_json_goes_on(run: Path, tmp_path: Path) -> None:
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "out"
    make(claim_output(planned(run, undisturbed)))
    claim_output(planned(run, output))
    (output / "run.json").unlink()
    shutil.rmtree(output / "goals")
    assert set(files(output)) == {name for name in files(undisturbed) if name.startswith(("origin", "checkpoint"))}
    make(claim_output(planned(run, output)))
    assert files(output) == files(undisturbed)


def test_a_damaged_copy_is_mended_from_the_original_and_named_without_it(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    plan = claim_output(planned(run, output))
    sound = files(Path(plan.checkpoint))
    weights = max((file for file in Path(plan.checkpoint).rglob("*.safetensors")), key=lambda file: file.stat().st_size)

    def damage() -> None:
        bad = bytearray(weights.read_bytes())
        bad[-5] ^= 1
        weights.write_bytes(bad)

    damage()
    again = claim_output(planned(run, output))
    assert files(Path(again.checkpoint)) == sound
    make(again)
    damage()
    part = output / "data" / "part-000000000004.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    assert repair(verify(str(output))).failed == ()  # by the original
    assert files(Path(again.checkpoint)) == sound
    damage()
    shutil.rmtree(run / "checkpoints" / "step-000000001")
    with pytest.raises(CorruptDataError, match=r"the output's copy of its checkpoint is damaged .* is gone"):
        claim_output(planned(run, output, 20))


def test_a_store_that_hides_what_is_gone_does_no_harm(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 without the right to list answers 403 where there is nothing."""
    output = tmp_path / "out"
    original = claim_output(planned(run, output)).origin.checkpoint
    exists = storage.exists

    def hidden(url: str) -> bool:
        if url.startswith(original):
            raise PermissionDenied("permission denied", url)
        return exists(url)

    monkeypatch.setattr(storage, "exists", hidden)
    plan = planned(run, output)
    assert plan.checkpoint.startswith(f"{output}/checkpoint/")
    make(plan)


def test_a_set_that_lost_its_origin_has_its_copy(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    make(claim_output(planned(run, output)))
    whole = files(output)
    save(run, 2)
    shutil.rmtree(run / "checkpoints" / "step-000000001")
    (output / "origin.json").unlink()
    part = output / "data" / "part-000000000004.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    assert repair(verify(str(output))).failed == ()
    assert files(output) == {name: data for name, data in whole.items() if name != "origin.json"}
    bare = Path(shutil.copytree(output, tmp_path / "bare"))
    shutil.rmtree(bare / "checkpoint")
    (bare / "data" / "part-000000000004.parquet").unlink()
    with pytest.raises(ConfigError, match=r"no origin\.json .*jobs/generate\.py writes it"):
        repair(verify(str(bare)))
    make(claim_output(planned(run, output, 20)))
    assert verify(str(output)).ok


class Killed(Exception):
    """What happens to a job after so many puts."""


def killed_claim(run: Path, output: Path, puts: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a job was killed while it claimed its output, after so many objects."""
    put_once = storage.put_once
    done = iter([True] * puts)

    def put_some(url: str, data: bytes) -> bool:
        if not next(done, False):
            raise Killed
        return put_once(url, data)

    with monkeypatch.context() as killing:
        killing.setattr(storage, "put_once", put_some)
        try:
            claim_output(planned(run, output))
        except Killed:
            return True
    return False


def test_a_job_killed_while_it_claims_goes_on_though_there_is_a_newer_checkpoint(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    puts = 0
    while killed_claim(run, tmp_path / f"out-{puts}", puts, monkeypatch):
        newer = save(run, 2)
        begun = claim_output(planned(run, tmp_path / f"out-{puts}"))
        assert len(list((tmp_path / f"out-{puts}" / "checkpoint").iterdir())) == 1
        shutil.rmtree(newer)
        make(begun)
        puts += 1
    assert puts > 5


def test_an_output_whose_checkpoint_is_removed_before_it_is_claimed_can_begin_with_the_next(run: Path, tmp_path: Path) -> None:
    plan = planned(run, tmp_path / "out")
    save(run, 2)
    (Path(plan.origin.checkpoint) / "unet" / "config.json").unlink()  # removing has begun
    with pytest.raises(CorruptDataError, match="the file is missing"):
        claim_output(plan)
    make(claim_output(planned(run, tmp_path / "out")))
    assert verify(str(tmp_path / "out")).ok


def test_another_model_in_the_place_of_the_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    make(claim_output(planned(run, tmp_path / "out")), parts=1)
    other = save(tmp_path / "other", 2)
    shutil.rmtree(run / "checkpoints" / "step-000000001")
    shutil.copytree(other, run / "checkpoints" / "step-000000001")
    with pytest.raises(ResumeMismatch, match=r"generation\.checkpoint_digest"):
        planned(run, tmp_path / "out")


def test_a_job_killed_before_its_run_json_goes_on_from_its_copy_when_the_original_is_gone(run: Path, tmp_path: Path) -> None:
    output, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    make(claim_output(planned(run, undisturbed)))
    begun = claim_output(planned(run, output))
    (output / "run.json").unlink()  # what the job was killed before
    save(run, 2)
    other = shutil.copytree(run / "checkpoints" / "step-000000002", output / "checkpoint" / "0123456789ab")  # of a killed job
    original = Path(begun.origin.checkpoint)
    (original / "model.json").unlink()  # removing has begun
    assert planned(run, output).checkpoint == begun.checkpoint
    shutil.rmtree(original)
    plan = planned(run, output)
    assert (plan.checkpoint, plan.origin) == (begun.checkpoint, begun.origin)
    make(claim_output(plan))
    assert not other.exists()
    assert files(output) == {**files(undisturbed), "origin.json": (undisturbed / "origin.json").read_bytes()}
    assert verify(str(output)).ok


def test_an_origin_of_a_version_that_recorded_no_digest_is_read(tmp_path: Path) -> None:
    given, found = "/runs/a", "/runs/a/checkpoints/step-000000001"
    # As jobs wrote it before.
    text = f'{{"checkpoint": "{found}", "conditions": "", "given": "{given}", "xxh3_128": "DIGEST"}}'
    fields = json.dumps({"given": given, "checkpoint": found, "conditions": ""}, sort_keys=True)
    (tmp_path / "origin.json").write_text(text.replace("DIGEST", xxhash.xxh3_128_hexdigest(fields.encode())))
    assert load_origin(str(tmp_path)) == Origin(given=given, checkpoint=found)


@pytest.mark.parametrize(
    ("samples", "code", "said"),
    [(12, 0, "Already done"), (20, 2, "error: --output: got .*no file can be made there: Read-only file system")],
)
def test_a_published_set_is_found_done_where_nobody_may_write(
    run: Path, tmp_path: Path, samples: int, code: int, said: str
) -> None:
    output = tmp_path / "out"
    make(claim_output(planned(run, output)))
    if samples == 12:
        (output / ".lock").touch()  # which every job leaves
    line = f"--checkpoint {run}@latest --output {output} --num-samples {samples} --part-rows 4 --batch-rows 4 --sampler-steps 2"
    script = f"mount --bind {output} {output} && mount -o remount,ro,bind {output} && {sys.executable} jobs/generate.py {line}"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    probe = subprocess.run([*command, f"mount --bind {output} {output}"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip("nothing can be mounted here")
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "RAY_ADDRESS": "127.0.0.1:1"}
    before = files(output)
    ended = subprocess.run([*command, script], env=environment, text=True, capture_output=True, check=False)
    assert ended.returncode == code, ended
    assert re.search(said, ended.stdout + ended.stderr), ended
    assert "Traceback" not in ended.stderr
    assert files(output) == before


@pytest.mark.parametrize("layout", ["parquet", "webdataset"])
def test_a_published_set_is_found_done_while_another_job_holds_it(
    run: Path, tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    line = f"--num-samples 12 --part-rows 4 --batch-rows 4 --sampler-steps 2 --format {layout}"
    command = ["--checkpoint", f"{run}@latest", "--output", str(output), *line.split()]
    make(claim_output(plan_generation(parse_generate(command).job)))
    monkeypatch.setattr(sys, "argv", ["generate.py", *command])
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")

    def again() -> tuple[int, str, str]:
        capfd.readouterr()
        code = generate.main()
        said = capfd.readouterr()
        return code, said.out.splitlines()[0], said.err

    before = files(output)
    with monkeypatch.context() as watched:
        watched.setattr(generate, "sole_job", None)  # nobody asks for the lock
        assert again() == (0, "Already done", "")
    assert files(output) == before
    kept = [name for name in ("README.md", "contact-sheet.png", "origin.json", "data/index.json") if name in before]
    for name in kept:
        (output / name).unlink()
        with storage.locked(str(output)):
            code, out, err = again()
        assert (code, out) == (0, "Already done")
        assert f"{output} is complete, and what it lacks beside its samples was not mended: another job is at work" in err
        assert not (output / name).exists()
        assert again() == (0, "Already done", "")
        assert files(output) == {**before, ".lock": b""}  # mended
    (output / "manifest.json").unlink()
    with storage.locked(str(output)), pytest.raises(ConfigError, match="another job is at work"):
        again()


def test_a_checkpoint_that_is_removed_between_plan_and_claim_is_named(run: Path, tmp_path: Path) -> None:
    plan = planned(run, tmp_path / "out")
    shutil.rmtree(run)
    with pytest.raises(CorruptDataError, match=r"was removed since it was found.*step-000000001"):
        claim_output(plan)
    assert not (tmp_path / "out").exists()
