"""Placeholders in URLs and sweeps over checkpoints; the clock has no say in any of it."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.plans.generate_config import GenerateConfig
from pipeline.plans.generate_sweep import one_output_each


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
