"""Every pixel of a grid is where it belongs."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.pictures import image_grid, labelled_strips

GAP = 2
LABEL_WIDTH = 150


def opened(data: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return np.asarray(image)


def random_images(count: int, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


@settings(deadline=None)
@given(
    count=st.integers(1, 9),
    columns=st.integers(1, 5),
    scale=st.integers(1, 3),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
)
def test_grid_holds_every_pixel_and_white_paper(
    count: int, columns: int, scale: int, channels: int, height: int, width: int
) -> None:
    images = random_images(count, height, width, channels)
    page = opened(image_grid(images, columns, scale))
    rows = -(-count // columns)
    assert page.shape == (rows * (height * scale + GAP) + GAP, columns * (width * scale + GAP) + GAP, 3)
    covered = np.zeros(page.shape[:2], bool)
    for i in range(count):
        for y in range(height * scale):
            for x in range(width * scale):
                at = GAP + i // columns * (height * scale + GAP) + y, GAP + i % columns * (width * scale + GAP) + x
                assert page[at].tolist() == np.broadcast_to(images[i, y // scale, x // scale], 3).tolist()
                covered[at] = True
    assert (page[~covered] == 255).all()


def test_equal_images_give_equal_bytes() -> None:
    images = random_images(4, 8, 8, 1)
    assert image_grid(images, 2) == image_grid(images.copy(), 2)


@pytest.mark.parametrize("scale", [1, 3])
def test_strips_stand_below_each_other_with_their_names_on_the_left(scale: int) -> None:
    one, two = random_images(3, 20, 10, 1), random_images(2, 12, 10, 3)
    page = opened(labelled_strips({"one": one, "two": two}, scale))
    heights = [20 * scale + 2 * GAP, 12 * scale + 2 * GAP]
    assert page.shape == (sum(heights), LABEL_WIDTH + 3 * (10 * scale + GAP) + GAP, 3)
    for top, strip in ((0, one), (heights[0], two)):
        grid = opened(image_grid(strip, len(strip), scale))
        assert np.array_equal(page[top : top + grid.shape[0], LABEL_WIDTH : LABEL_WIDTH + grid.shape[1]], grid)
        label = page[top : top + grid.shape[0], :LABEL_WIDTH]
        assert label.min() < 128  # there is ink
        assert (label[:, -8:] == 255).all()  # that ends before the images


def test_other_names_are_other_ink() -> None:
    images = random_images(1, 20, 10, 1)
    assert labelled_strips({"one": images}) != labelled_strips({"two": images})
