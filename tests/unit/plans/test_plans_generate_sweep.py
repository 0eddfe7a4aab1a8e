"""Placeholders in URLs and sweeps over checkpoints; the clock has no say in any of it."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.plans.generate_config import GenerateConfig
from pipeline.plans.generate_sweep import one_output_each
from pipeline.samples import Origin


def jobs(**fields: str) -> list[tuple[str, str]]:
    return [(job.checkpoint, job.output) for job in one_output_each(GenerateConfig(**fields))]  # pyright: ignore[reportArgumentType]


def test_one_checkpoint_and_one_output_stay_as_they_are() -> None:
    assert jobs(checkpoint="runs/x@latest", output="out") == [("runs/x@latest", "out")]


def test_the_date_is_filled_in_everywhere() -> None:
    (job,) = one_output_each(
        GenerateConfig(
            checkpoint="runs/{date}", output="s3://b/{date}/s-{date}", conditions="c/{date}.parquet", date="2026-01-31"
        )
    )
    assert (job.checkpoint, job.output, job.conditions) == (
        "runs/2026-01-31",
        "s3://b/2026-01-31/s-2026-01-31",
        "c/2026-01-31.parquet",
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"output": "s3://b/{date}"}, "without --date"),
        ({"output": "o", "date": "2026-01-31"}, "neither --checkpoint nor --output nor --conditions has {date}"),
        ({"output": "{date}", "date": "yesterday"}, "expected a date such as"),
        ({"output": "{date}", "date": "../../x"}, "expected a date such as"),
        ({"output": "{date}", "date": "2026-01-31/06"}, "expected a date such as"),
        ({"output": "{date}", "date": "2026-01-31\n06"}, "expected a date such as"),
        ({"output": "{date}", "date": "2026-W05-6"}, "expected a date such as"),
        ({"output": "{date}", "date": "2026-02-31"}, "expected a date such as"),
        ({"output": "{checkpoint}", "checkpoint": "r/step-1@latest/"}, "expected checkpoint folders"),
        ({"output": "o", "checkpoint": "a,b"}, "got 2 checkpoints for one output"),
        ({"output": "{checkpoint}", "checkpoint": "r/step-1,q/step-1"}, "several checkpoints for the output step-1"),
        ({"output": "{checkpoint}", "checkpoint": "runs/x"}, "expected checkpoint folders"),
        ({"output": "{checkpoint}", "checkpoint": "r/step-1@latest"}, "expected checkpoint folders"),
        ({"output": "{checkpoint}"}, "--checkpoint is missing"),
    ],
)
def test_what_cannot_be_filled_in_is_refused(fields: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        jobs(**fields)


def test_two_checkpoints_of_one_name_that_a_pattern_finds_are_refused(tmp_path: Path) -> None:
    for run in "ab":
        (tmp_path / run / "step-000000001").mkdir(parents=True)
        (tmp_path / run / "step-000000001" / "checkpoint.json").write_text("{}")
    with pytest.raises(ConfigError, match="several checkpoints for the output"):
        jobs(checkpoint=f"{tmp_path}/*/step-*", output=f"{tmp_path}/out/{{checkpoint}}")


def test_a_list_is_a_sweep() -> None:
    assert jobs(checkpoint="r/step-1, r/step-20/", output="o/{checkpoint}/s") == [
        ("r/step-1", "o/step-1/s"),
        ("r/step-20/", "o/step-20/s"),
    ]


def test_a_list_or_a_pattern_of_one_needs_no_placeholder(tmp_path: Path) -> None:
    assert jobs(checkpoint="runs/x@latest, ", output="out") == [("runs/x@latest", "out")]
    (tmp_path / "step-000000001").mkdir()
    (tmp_path / "step-000000001" / "checkpoint.json").write_text("{}")
    assert jobs(checkpoint=f"{tmp_path}/step-*", output="out") == [(f"{tmp_path}/step-000000001", "out")]
    with pytest.raises(ConfigError, match="no checkpoint for"):
        jobs(checkpoint=f"{tmp_path}/x*", output="out")


def test_a_pattern_is_a_sweep_over_whole_checkpoints(tmp_path: Path) -> None:
    for step in (3, 1, 2):
        (tmp_path / f"step-{step:09d}").mkdir()
        if step != 2:  # that one was not written to the end
            (tmp_path / f"step-{step:09d}" / "checkpoint.json").write_text("{}")
    found = jobs(checkpoint=f"{tmp_path}/*", output="o/{checkpoint}")
    assert [output for _, output in found] == ["o/step-000000001", "o/step-000000003"]
    with pytest.raises(ConfigError, match="no checkpoint for"):
        jobs(checkpoint=f"{tmp_path}/x*", output="o/{checkpoint}")


def checkpoint(folder: Path) -> Path:
    """A folder that a pattern takes for a checkpoint."""
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text("{}")
    return folder


@pytest.mark.parametrize("date", ["2026-01-31", "2026-01-31T06"])
def test_a_date_has_the_forms_that_are_promised(date: str) -> None:
    (job,) = one_output_each(GenerateConfig(checkpoint="c", output="o/{date}", date=date))
    assert job.output == f"o/{date}"


def test_a_comma_or_brackets_in_a_name_that_is_there_are_part_of_it(tmp_path: Path) -> None:
    named = checkpoint(tmp_path / "a,b" / "step-000000001")
    assert jobs(checkpoint=str(named), output="out") == [(str(named), "out")]
    assert jobs(checkpoint=f"{tmp_path}/a,b@latest", output="out") == [(f"{tmp_path}/a,b@latest", "out")]
    assert jobs(checkpoint=f"{tmp_path}/a,b/*", output="{checkpoint}") == [(str(named), "step-000000001")]
    with pytest.raises(ConfigError, match="commas separate several"):
        jobs(checkpoint=f"{tmp_path}/a,c/*", output="out")
    bracket = checkpoint(tmp_path / "r[1]" / "step-000000001")
    assert jobs(checkpoint=f"{tmp_path}/r[1]/*", output="{checkpoint}") == [(str(bracket), "step-000000001")]
    other = checkpoint(tmp_path / "r1" / "step-000000002")
    assert jobs(checkpoint=f"{tmp_path}/r[1]/*", output="{checkpoint}") == [(str(other), "step-000000002")]


def test_an_unfinished_output_whose_checkpoint_is_gone_stays_in_the_sweep(tmp_path: Path) -> None:
    run, out = tmp_path / "run" / "checkpoints", tmp_path / "out [1]"
    for step in (1, 2, 3, 4):
        folder = out / f"step-00000000{step}" / "s"
        given = tmp_path / "other" / "x" / folder.parent.name if step == 4 else run / folder.parent.name
        Origin(given=str(given), checkpoint=str(given)).write(str(folder))
    (out / "step-000000003" / "s" / "manifest.json").write_text("{}")  # finished, and not begun anew since
    sweep = {"checkpoint": f"{run}/*", "output": f"{out}/{{checkpoint}}/s"}
    left = [(str(run / f"step-00000000{step}"), f"{out}/step-00000000{step}/s") for step in (1, 2)]
    assert jobs(**sweep) == left
    checkpoint(run / "step-000000002")
    checkpoint(run / "step-000000005")
    new = str(run / "step-000000005"), f"{out}/step-000000005/s"
    assert jobs(**sweep) == [*left, new]
    with pytest.raises(ConfigError, match="no checkpoint for"):
        jobs(**{**sweep, "checkpoint": f"{tmp_path}/nothing/*"})
    (out / "step-000000001" / "s" / "origin.json").write_text("{")  # the plan names the damage
    assert jobs(**sweep) == [*left, new]
