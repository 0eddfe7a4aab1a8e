"""Pictures for people: grids, strips over time, clouds and curves, drawn from plain arrays into PNG bytes."""

from pipeline.pictures.clouds import diffusion_rows
from pipeline.pictures.curves import loss_curve
from pipeline.pictures.grids import image_grid, labelled_strips
from pipeline.pictures.schedules import schedule_curves

__all__ = ["diffusion_rows", "image_grid", "labelled_strips", "loss_curve", "schedule_curves"]
