"""The plans of all outputs of one command: of a sweep, one that cannot be planned keeps no other from being made."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import storage
from pipeline.errors import SwissrollError, TransientStorageError
from pipeline.plans.generate_config import GenerateConfig
from pipeline.plans.generate_plan import GeneratePlan, plan_generation


@dataclass(frozen=True, slots=True)
class Unplanned:
    """An output that cannot be made, or not now."""

    output: str
    """Its folder, absolute."""
    error: SwissrollError
    """Why."""


def plan_all(jobs: Sequence[GenerateConfig]) -> list[GeneratePlan | Unplanned]:
    """Returns the plan of each output, or why it has none.

    Raises:
        TransientStorageError: A store did not answer for two outputs in a row, and would be waited for as long for each of the
            others.
        SwissrollError: None of them can be planned, for the reason of the first: most likely it concerns all.
    """
    plans: list[GeneratePlan | Unplanned] = []
    for job in jobs:
        plans.append(_plan_or_reason(job))
        if len(plans) > 1 and (error := _silence(plans[-2])) and _silence(plans[-1]):
            raise error
    reasons = [plan.error for plan in plans if isinstance(plan, Unplanned)]
    if len(reasons) == len(plans):
        raise reasons[0]
    return plans


def _silence(plan: GeneratePlan | Unplanned) -> TransientStorageError | None:
    return plan.error if isinstance(plan, Unplanned) and isinstance(plan.error, TransientStorageError) else None


def _plan_or_reason(job: GenerateConfig) -> GeneratePlan | Unplanned:
    try:
        return plan_generation(job)
    except SwissrollError as error:
        if not job.output.strip():
            raise
        return Unplanned(storage.absolute_url(job.output), error)
