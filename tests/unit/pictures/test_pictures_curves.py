"""The loss curve is a picture with the curve on it."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from pipeline.pictures import loss_curve

RAW, SMOOTH = ImageColor.getrgb("#9bb7d4"), ImageColor.getrgb("#1f4e79")


def drawn(data: bytes, color: tuple[int, ...]) -> NDArray[np.intp]:
    """Columns of the picture in which a pixel has exactly this color."""
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("PNG", (840, 480))
    pixels = np.asarray(image.convert("RGB"))
    return np.flatnonzero((pixels == color).all(-1).any(0))


def test_the_curve_runs_over_the_whole_width() -> None:
    columns = drawn(loss_curve([(step, 1 / step) for step in range(1, 100)]), RAW)
    assert columns.size > 200
    assert columns.min() < 150
    assert columns.max() > 700


def test_a_long_history_is_smoothed_and_a_short_one_is_not() -> None:
    history = [(10 * n, 1.0 + n % 2) for n in range(1, 60)]
    assert drawn(loss_curve(history), SMOOTH).size > 200
    assert drawn(loss_curve(history[:19]), SMOOTH).size == 0


@pytest.mark.parametrize("history", [[], [(10, 0.5)]], ids=len)
def test_a_run_that_hardly_began_has_a_picture_too(history: list[tuple[int, float]]) -> None:
    drawn(loss_curve(history), RAW)
