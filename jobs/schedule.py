"""What a preset's noise schedule leaves of the image: python jobs/schedule.py PRESET [--output schedule.png] [flags]."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.families import DiffusionConfig, kl_to_prior_bits
from pipeline.pictures import schedule_curves
from pipeline.plans.flags import arguments, parse_flags
from pipeline.plans.output_folder import output_url
from pipeline.plans.presets import PRESETS, preset
from pipeline.plans.schedule_report import TOLERANCE_BITS, report_schedule
from pipeline.runtime.console import say, say_table
from pipeline.runtime.job import OK, run_job

USAGE = f"usage: schedule.py PRESET [flags], PRESET being one of {', '.join(PRESETS)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCommand:
    """Table and plot of a noise schedule, and the smallest number of steps that is enough."""

    family: Annotated[DiffusionConfig, tyro.conf.arg(name="")] = field(default_factory=DiffusionConfig)
    """The diffusion model."""
    tolerance_bits: float = TOLERANCE_BITS
    """Signal that is accepted in x_T, in bits per dimension."""
    second_moment: float = 1.0 / 3.0
    """E[x_0^2] of one dimension of the data; 1/3 is that of a uniform pixel."""
    output: str | None = None
    """PNG file for the plot; unset: no plot."""


def main() -> int:
    """Reports; returns the exit code."""
    given = arguments()
    default = DiffusionConfig()
    if given and not given[0].startswith("-"):
        family = preset(given[0]).model.family
        if not isinstance(family, DiffusionConfig):
            raise ConfigError(f"preset {given[0]}: got a model without a noise schedule, expected a diffusion model")
        default, given = family, given[1:]
    elif not {"-h", "--help"} & set(given):
        raise ConfigError(f"the preset is missing; {USAGE}")
    command = parse_flags(ScheduleCommand, given, ScheduleCommand(family=default), prog="schedule.py PRESET")
    url = None if command.output is None else output_url("--output", command.output, is_file=True)
    report = report_schedule(command.family, command.tolerance_bits, command.second_moment)
    T, schedule = command.family.timesteps, report.schedule
    for line in report.lines():
        say(line)
    enough = "not reached" if report.sufficient is None else f"t = {report.sufficient:,}"
    say_table(
        f"\n{schedule.name} schedule of {T:,} steps",
        [
            ("left at T", f"{report.left_bits:.4g} bits/dim"),
            (f"below {command.tolerance_bits:g} bits/dim", f"{enough}, of {T:,}"),
        ],
    )
    if url is not None:
        kl = kl_to_prior_bits(schedule, command.second_moment).tolist()
        title = f"{schedule.name}, T = {T}"
        picture = schedule_curves(schedule.alpha_bar.tolist(), schedule.log_snr().tolist(), kl, command.tolerance_bits, title)
        storage.put_replace(url, picture)
        say_table("Drawn", [("picture", url)])
    return OK


if __name__ == "__main__":
    run_job(main)
