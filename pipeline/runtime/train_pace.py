"""How fast a training job goes, from the hub's numbers."""

import time

from pipeline.runtime.hub import HubView, value_of
from pipeline.telemetry import (
    IMAGES_STREAMED,
    IMAGES_TRAINED,
    TRAIN_LOSS,
    TRAIN_STEP,
    TRAIN_STEP_SECONDS,
    TRAINER_DATA_WAIT_SECONDS,
    Metric,
    ProgressPoint,
    RateWindow,
)
from pipeline.telemetry.rates import SHORT_RUN_S

RECENT_S = 10.0
WHOLE_JOB_S = 1e9


class TrainPace:
    """Rates of a training job: of the last seconds for the bar, of the whole job for its summary.

    Args:
        target_step: Step at which the run is finished.
        num_workers: Trainers.
    """

    def __init__(self, target_step: int, num_workers: int = 1) -> None:
        self._target_step, self._num_workers = target_step, num_workers
        self._recent, self._trained, self._streamed = RateWindow(RECENT_S), RateWindow(WHOLE_JOB_S), RateWindow(WHOLE_JOB_S)
        self._values: dict[str, float] = {}
        self._first_s: float | None = None
        self._observed_s, self._most_trained = 0.0, 0.0

    def point(self, view: HubView) -> ProgressPoint | None:
        """Takes in what the hub knows and returns where the job is; None until the first step is reported."""
        self._values = view.values
        if str(TRAIN_STEP.series()) not in view.values:
            return None
        now, trained = time.monotonic(), value_of(view.values, IMAGES_TRAINED.series())
        self._first_s = now if self._first_s is None else self._first_s
        if trained > self._most_trained:
            self._most_trained, self._observed_s = trained, now - self._first_s
        self._recent.observe(now, trained)
        self._trained.observe(now, trained)
        self._streamed.observe(now, value_of(view.values, IMAGES_STREAMED.series()))
        return ProgressPoint(
            done=min(int(value_of(view.values, TRAIN_STEP.series())), self._target_step),
            total=self._target_step,
            images_per_s=self._recent.per_second() if self._observed_s >= SHORT_RUN_S else self.trained_per_s or None,
            loss=view.values.get(str(TRAIN_LOSS.series())),
            data_wait_share=self.wait_share,
        )

    @property
    def trained_per_s(self) -> float:
        """Images a second trained on, from the first reported step to the last; in a short run, of the trainers' own time."""
        return self._rate(self._trained, IMAGES_TRAINED)

    @property
    def streamed_per_s(self) -> float:
        """Images a second that loaders decoded, over the same time."""
        return self._rate(self._streamed, IMAGES_STREAMED)

    @property
    def wait_share(self) -> float:
        """Share of the trainers' time spent waiting for data, in [0, 1]."""
        wait = value_of(self._values, TRAINER_DATA_WAIT_SECONDS.series())
        busy = value_of(self._values, TRAIN_STEP_SECONDS.series())
        return wait / (wait + busy) if wait + busy else 0.0

    def _rate(self, window: RateWindow, metric: Metric) -> float:
        if self._observed_s >= SHORT_RUN_S:
            return window.per_second() or 0.0
        busy = value_of(self._values, TRAIN_STEP_SECONDS.series()) + value_of(self._values, TRAINER_DATA_WAIT_SECONDS.series())
        return value_of(self._values, metric.series()) * self._num_workers / busy if busy else 0.0
