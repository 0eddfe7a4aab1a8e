"""The schedule's report against published values, and the warning before a run."""

import pytest

from pipeline.families import DiffusionConfig
from pipeline.plans.schedule_report import report_schedule, signal_warning


def test_linear_schedule_has_the_known_values() -> None:
    report = report_schedule(DiffusionConfig(schedule="linear"), 1e-3)
    assert report.left_bits == pytest.approx(9.705e-6, rel=1e-3)
    assert report.sufficient == 737
    assert report_schedule(DiffusionConfig(schedule="linear"), 1e-4).sufficient == 878
    assert report.t == [1, *range(100, 1001, 100)]
    table = "\n".join(report.lines())
    for value in ("0.9999", "0.897018", "0.0785872", "4.03583e-05"):
        assert value in table


@pytest.mark.parametrize("steps", [2, 3, 7, 1000])
def test_rows_stay_within_the_schedule(steps: int) -> None:
    report = report_schedule(DiffusionConfig(timesteps=steps))
    assert report.t[0] == 1
    assert report.t[-1] == steps
    assert report.t == sorted(set(report.t))
    assert len(report.lines()) == len(report.t) + 1


def test_a_short_linear_schedule_is_warned_about_and_the_presets_are_not() -> None:
    warning = signal_warning(DiffusionConfig(schedule="linear", timesteps=100))
    assert warning is not None
    assert "the linear schedule of 100 steps leaves 0.151 bits/dim" in warning
    assert "\n" not in warning
    for schedule in ("linear", "cosine", "sigmoid", "log-snr"):
        assert signal_warning(DiffusionConfig(schedule=schedule)) is None
