"""A noise schedule as curves."""

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def schedule_curves(
    alpha_bar: Sequence[float], log_snr: Sequence[float], kl_bits: Sequence[float], tolerance_bits: float, title: str
) -> bytes:
    """Returns alpha_bar, log-SNR and the signal left over t = 1..T, side by side, as PNG bytes.

    Args:
        alpha_bar: Share of the image's variance in x_t.
        log_snr: Natural logarithm of the signal-to-noise ratio.
        kl_bits: Divergence from pure noise, bits per dimension.
        tolerance_bits: Drawn as a line across the last.
        title: Above the whole.
    """
    figure = Figure(figsize=(11, 3.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = figure.subplots(1, 3)
    t = range(1, len(alpha_bar) + 1)
    axes[0].plot(t, alpha_bar, color="#1f4e79")
    axes[0].set(xlabel="t", ylabel="alpha_bar", ylim=(0, 1))
    axes[1].plot(t, log_snr, color="#1f4e79")
    axes[1].set(xlabel="t", ylabel="log SNR")
    axes[2].plot(t, kl_bits, color="#1f4e79")
    axes[2].axhline(tolerance_bits, color="#b03030", linewidth=1, linestyle="--", label=f"tolerance {tolerance_bits:g}")
    axes[2].set(xlabel="t", ylabel="KL to N(0, I), bits/dim", yscale="log")
    axes[2].legend(frameon=False)
    for each in axes:
        each.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
