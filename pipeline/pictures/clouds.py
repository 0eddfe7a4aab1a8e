"""Clouds of points under a diffusion model: turned to noise, turned back, and the drift that does it."""

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

Points = NDArray[np.float32]
_LIMIT = 3.0


def diffusion_rows(
    forward: Mapping[str, Points], reverse: Mapping[str, Points], drift: Mapping[str, tuple[Points, Points]]
) -> bytes:
    """Returns three rows of clouds, as PNG bytes.

    Args:
        forward: Clouds float [N, 2] by title, the data first and noise last.
        reverse: Clouds of the same times, under the reverse process.
        drift: Places float [M, 2] and arrows float [M, 2] of the same times; their lengths are scaled for each time.
    """
    figure = Figure(figsize=(2.6 * len(forward), 8.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(forward), squeeze=False)
    processes = (("data to noise, q", forward, "#1f4e79"), ("noise to data, p", reverse, "#b03030"))
    for row, (name, clouds, color) in enumerate(processes):
        for column, (title, points) in enumerate(clouds.items()):
            axes[row, column].scatter(points[:, 0], points[:, 1], s=1.5, linewidths=0, color=color)
            axes[row, column].set_title(title if row == 0 else "")
        axes[row, 0].set_ylabel(name)
    for column, (places, arrows) in enumerate(drift.values()):
        lengths = np.linalg.norm(arrows, axis=1)
        scaled = arrows / max(float(lengths.max()), 1e-12) * 0.45
        axes[2, column].quiver(
            *places.T, *scaled.T, lengths, angles="xy", scale_units="xy", scale=1.0, cmap="viridis", width=0.006
        )
        axes[2, column].set_title(f"longest {float(lengths.max()):.3g}", fontsize=8)
    axes[2, 0].set_ylabel("drift, mean of x(t-1) - x(t)")
    for each in axes.flat:
        each.set(xlim=(-_LIMIT, _LIMIT), ylim=(-_LIMIT, _LIMIT), aspect="equal", xticks=[], yticks=[])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
