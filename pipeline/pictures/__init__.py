"""Pictures for people: grids, strips over time and curves, drawn from plain arrays into PNG bytes."""

from pipeline.pictures.curves import loss_curve
from pipeline.pictures.grids import image_grid, labelled_strips

__all__ = ["image_grid", "labelled_strips", "loss_curve"]
