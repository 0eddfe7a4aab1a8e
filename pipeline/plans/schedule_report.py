"""What a noise schedule leaves of the image: the numbers that say whether T steps are enough."""

from dataclasses import dataclass

import torch

from pipeline.families import DiffusionConfig, Schedule, kl_to_prior_bits, smallest_sufficient_steps

TOLERANCE_BITS = 1e-3
"""Signal left at T, in bits per dimension, above which a training run is warned about."""
_MOST_ROWS = 12


@dataclass(frozen=True, slots=True)
class ScheduleReport:
    """A schedule's table; every list has one entry a row."""

    schedule: Schedule
    """The schedule."""
    tolerance_bits: float
    """Signal that is accepted at the end, in bits per dimension."""
    t: list[int]
    """Timesteps of the rows, 1..T."""
    kl_bits: list[float]
    """KL(q(x_t | x_0) || N(0, I)) in bits per dimension, at these timesteps."""
    left_bits: float
    """The same at T."""
    sufficient: int | None
    """First t that leaves less than the tolerance; None: not even T does."""

    def lines(self) -> list[str]:
        """Returns the table as text, one line a row, the header first."""
        head = f"{'t':>8} {'alpha_bar':>12} {'SNR':>12} {'log SNR':>9} {'KL bits/dim':>12}"
        rows = []
        for t, kl in zip(self.t, self.kl_bits, strict=True):
            bar, log_snr = float(self.schedule.alpha_bar[t - 1]), float(self.schedule.log_snr()[t - 1])
            snr = float(torch.exp(self.schedule.log_snr()[t - 1]))
            rows.append(f"{t:>8} {bar:>12.6g} {snr:>12.6g} {log_snr:>9.3f} {kl:>12.4g}")
        return [head, *rows]


def report_schedule(
    config: DiffusionConfig, tolerance_bits: float = TOLERANCE_BITS, second_moment: float = 1.0 / 3.0
) -> ScheduleReport:
    """Returns the table of a configuration's schedule.

    Args:
        config: The diffusion model.
        tolerance_bits: Signal that is accepted at the end, in bits per dimension.
        second_moment: E[x_0^2] of one dimension; 1/3 is that of a uniform pixel in [-1, 1].
    """
    schedule = config.make_schedule()
    kl, T = kl_to_prior_bits(schedule, second_moment), schedule.timesteps
    rows = sorted({1, T} | {max(1, T * k // (_MOST_ROWS - 2)) for k in range(1, _MOST_ROWS - 1)})
    sufficient = smallest_sufficient_steps(schedule, tolerance_bits, second_moment)
    return ScheduleReport(schedule, tolerance_bits, rows, [float(kl[t - 1]) for t in rows], float(kl[-1]), sufficient)


def signal_warning(config: DiffusionConfig) -> str | None:
    """Returns what is wrong with a schedule that leaves too much of the image at T, in one line; None if nothing is."""
    report = report_schedule(config)
    if report.left_bits <= TOLERANCE_BITS:
        return None
    name = "given" if config.beta is not None else config.schedule
    return (
        f"the {name} schedule of {config.timesteps} steps leaves {report.left_bits:.3g} bits/dim of the image in x_T, more "
        f"than {TOLERANCE_BITS:g}: samples start from noise that training never saw; take more timesteps or another schedule "
        "(jobs/schedule.py shows them)"
    )
