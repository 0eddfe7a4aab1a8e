"""Command lines: the flags that scripts out there rely on, and what becomes of a slip of the finger."""

from pathlib import Path

import pytest
from json_leaves import written

from jobs.demo import DemoCommand
from jobs.pack import PackCommand
from pipeline.errors import ConfigError
from pipeline.networks import UNetConfig
from pipeline.plans.commands import parse_generate, parse_train
from pipeline.plans.flags import parse_flags
from pipeline.plans.presets import preset


def test_every_promised_flag_of_training_is_taken() -> None:
    line = "mnist --data shards --run-dir run --steps 5 --batch-size 32 --num-workers 2 --num-loaders 3 --seed 4 --dry-run"
    command = parse_train(line.split())
    job = command.job
    assert (job.data, job.run_dir, job.steps, job.seed) == ("shards", "run", 5, 4)
    assert (job.stream.batch_size, job.workers.num_workers, job.workers.num_loaders) == (32, 2, 3)
    assert command.dry_run
    assert job.model == preset("mnist").model


@pytest.mark.parametrize("form", [["--config", "FILE"], ["--config=FILE"], ["--steps", "9", "--config", "FILE"]])
def test_training_starts_from_a_file_and_flags_override_it(tmp_path: Path, form: list[str]) -> None:
    file = written(tmp_path / "mine.json", {"steps": 7, "seed": 3})
    job = parse_train([part.replace("FILE", file) for part in form]).job
    assert (job.steps, job.seed) == (9 if "--steps" in form else 7, 3)


def test_without_flags_a_preset_is_taken_as_it_is() -> None:
    for name in ("mnist", "digits"):
        command = parse_train([name])
        assert (command.job, command.dry_run, command.summary, command.config) == (preset(name), False, None, None)


def test_nested_fields_are_flags_too() -> None:
    line = "digits --stream.batch-size 32 --model.network.widths 8 16 --optim.learning-rate 0.5 --workers.max-failures 0"
    job = parse_train(line.split()).job
    assert (job.stream.batch_size, job.optim.learning_rate, job.workers.max_failures) == (32, 0.5, 0)
    assert isinstance(job.model.network, UNetConfig)
    assert job.model.network.widths == (8, 16)


def test_every_promised_flag_of_generation_is_taken() -> None:
    line = (
        "--checkpoint run --output out --num-samples 10 --seed 2 --sampler ddim --sampler-steps 9 --guidance 1.5 "
        "--labels 0,1,2 --num-workers 3 --dry-run"
    )
    command = parse_generate(line.split())
    job = command.job
    assert (job.checkpoint, job.output, job.num_samples, job.seed) == ("run", "out", 10, 2)
    assert (job.sampler, job.sampler_steps, job.guidance, job.labels, job.num_workers) == ("ddim", 9, 1.5, "0,1,2", 3)
    assert command.dry_run


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++2m", "heun"])
def test_every_sampler_can_be_named(sampler: str) -> None:
    assert parse_generate(["--sampler", sampler]).job.sampler == sampler


def test_the_other_jobs_take_their_flags() -> None:
    pack = parse_flags(PackCommand, ["--images", "mnist", "--output", "o", "--shard-size", "7"], PackCommand(), prog="pack.py")
    assert (pack.images, pack.output, pack.shard_size) == ("mnist", "o", 7)
    demo = parse_flags(DemoCommand, ["--output", "o"], DemoCommand(), prog="demo.py")
    assert demo.output == "o"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("mnist --step 5", "unknown flag --step; did you mean --steps?"),
        ("mnist --bach-size=32", "unknown flag --bach-size; did you mean --batch-size?"),
        ("mnist --num-worker 2", "unknown flag --num-worker; did you mean --num-workers?"),
        ("mnist --rundir r", "unknown flag --rundir; did you mean --run-dir?"),
        ("mnist --optim.learningrate 1", "unknown flag --optim.learningrate; did you mean --optim.learning-rate?"),
        ("mnist --q9", "unknown flag --q9; --help lists all flags"),
        ("mnist digits", "unexpected argument 'digits'; expected flags such as --seed 1"),
        ("mnst", "unknown preset 'mnst'; did you mean mnist?"),
        ("", "the preset is missing; usage: train.py PRESET"),
        ("--steps 5", "the preset is missing; usage: train.py PRESET"),
        ("mnist --config c.json", "got both the preset mnist and --config c.json; expected one of them"),
        ("mnist --steps 0", "steps must be at least 1, got 0"),
        ("mnist --num-workers 3", "batch size 32 cannot be split over 3 workers"),
        ("mnist --steps x", "--steps"),
        ("mnist --steps", "--steps"),
    ],
)
def test_a_mistake_in_training_becomes_one_line(line: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_train(line.split())
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--num-sample 5", "unknown flag --num-sample; did you mean --num-samples?"),
        ("--guidence 2", "unknown flag --guidence; did you mean --guidance?"),
        ("--sampler euler", "dpm++2m"),
        ("--num-samples many", "many"),
        ("here", "unexpected argument 'here'"),
    ],
)
def test_a_mistake_in_generation_becomes_one_line(line: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_generate(line.split())
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("line", ["--help", "mnist --help"])
def test_help_lists_every_flag_and_ends_well(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with pytest.raises(SystemExit) as end:
        parse_train(line.split())
    assert not end.value.code
    said = capsys.readouterr().out
    assert all(flag in said for flag in ("--data", "--run-dir", "--batch-size", "--num-workers", "--config", "--dry-run"))
