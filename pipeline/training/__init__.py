"""Training: one optimisation step, the state it changes and the loop around it, in plain torch."""

from pipeline.training.batch import Batch
from pipeline.training.config import OptimConfig
from pipeline.training.loop import StepResult, train_steps
from pipeline.training.points import swiss_roll, train_on_points
from pipeline.training.state import TrainState

__all__ = ["Batch", "OptimConfig", "StepResult", "TrainState", "swiss_roll", "train_on_points", "train_steps"]
