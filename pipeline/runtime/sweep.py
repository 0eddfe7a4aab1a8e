"""The outputs of one command, one after another: one that fails ends no other, and what concerns all of them ends all."""

from collections.abc import Callable, Sequence

from pipeline.errors import ClusterError, NoAnswer, SwissrollError, TransientStorageError
from pipeline.plans.generate_plan import GeneratePlan
from pipeline.plans.generate_plans import Unplanned
from pipeline.runtime.console import warn
from pipeline.runtime.generate_run import GenerateOutcome, not_made, nothing_made

SILENT_IN_A_ROW = 2
"""Outputs one after another whose store did not answer, each waited for in vain: the others would be waited for as long."""


def make_all(
    plans: Sequence[GeneratePlan | Unplanned], make: Callable[[GeneratePlan], GenerateOutcome]
) -> tuple[list[GenerateOutcome], SwissrollError | None]:
    """Returns how each output of a sweep ended, and the error that ended the work on all of them, where one did.

    Args:
        plans: The outputs, in order.
        make: Makes one of them.
    """
    outcomes: list[GenerateOutcome] = []
    silent = 0
    for place, plan in enumerate(plans):
        if isinstance(plan, Unplanned):
            outcomes.append(not_made(plan.output, plan.error))
        elif any(outcome.stopped for outcome in outcomes):  # which the whole sweep was asked to, not one output
            outcomes.append(nothing_made(plan, stopped=True))
        else:
            try:
                outcomes.append(make(plan))
                silent = 0
            except SwissrollError as error:
                silent = silent + 1 if isinstance(error, TransientStorageError) else 0
                outcomes.append(not_made(plan.config.output, error, plan.committed_rows))
                if isinstance(error, ClusterError | NoAnswer) or silent == SILENT_IN_A_ROW:
                    return [*outcomes, *(_not_tried(one, error) for one in plans[place + 1 :])], error
                warn(f"failed: {plan.config.output}: {error}")
    return outcomes, None


def _not_tried(plan: GeneratePlan | Unplanned, error: SwissrollError) -> GenerateOutcome:
    if isinstance(plan, Unplanned):
        return not_made(plan.output, plan.error)
    left = "" if plan.open_parts else " (all parts are there, the manifest is still to be written)"
    return nothing_made(plan, error=f"not tried{left}: {error}")
