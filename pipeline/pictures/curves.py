"""Curves over training."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SMOOTH_OVER = 10


def loss_curve(history: Sequence[tuple[int, float]]) -> bytes:
    """Returns the training loss over steps, raw and smoothed, as PNG bytes.

    Args:
        history: (step, loss) pairs in the order of steps.
    """
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)  # no display, no global state
    axes = figure.subplots()
    steps = np.array([step for step, _ in history])
    losses = np.array([loss for _, loss in history])
    axes.plot(steps, losses, color="#9bb7d4", linewidth=1, label="loss")
    if len(losses) >= 2 * SMOOTH_OVER:
        smooth = np.convolve(losses, np.full(SMOOTH_OVER, 1 / SMOOTH_OVER), "valid")
        axes.plot(steps[SMOOTH_OVER - 1 :], smooth, color="#1f4e79", linewidth=2, label=f"mean of {SMOOTH_OVER} points")
    axes.set(xlabel="step", ylabel="training loss", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
