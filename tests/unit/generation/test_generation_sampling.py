"""Sample i is a function of (specification, i).

What a range gives is the same bytes however often and by whomever it is asked for. Asked for in other ranges, a sample may
stand at another row of its batch; convolution kernels may then add the same numbers in another order, which can move a
pixel across a rounding border. So across different cuts one level of difference is allowed here; the parts of a set begin
at fixed rows, so that its bytes do not depend on this.
"""

from typing import Any

import numpy as np
import pytest
import torch
from generation_models import CPU, model, sampler, spec
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from pipeline.families import SamplerConfig, normal, sample, sampler_table, stream_key
from pipeline.generation import ImageSampler
from pipeline.models.model import to_pixels

ANCESTRAL = SamplerConfig(name="ddpm", steps=20)


def distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    """Largest difference of two sets of images, in levels."""
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_images_are_pixels_of_the_models_shape() -> None:
    images = sampler().images(0, 11)
    assert images.shape == (11, 8, 8, 1)
    assert images.dtype == np.uint8
    assert images.flags.c_contiguous
    assert images.std() > 5  # something is on them


def test_equal_ranges_give_equal_bytes_whoever_asks() -> None:
    first = sampler()
    once = first.images(5, 20)
    assert np.array_equal(first.images(5, 20), once)
    assert np.array_equal(sampler().images(5, 20), once)


@settings(max_examples=8, deadline=None)
@given(cut=st.integers(1, 29), data=st.data())
def test_a_sample_does_not_depend_on_the_range_it_was_asked_in(cut: int, data: st.DataObject) -> None:
    made = sampler()
    whole = made.images(0, 30)
    parts = np.concatenate([made.images(0, cut), made.images(cut, 30 - cut)])
    assert distance(parts, whole) <= 1
    one = data.draw(st.integers(0, 29))
    assert distance(made.images(one, 1)[0], whole[one]) <= 1


@pytest.mark.parametrize("batch_rows", [1, 3, 30])
def test_a_sample_does_not_depend_on_the_batch_size(batch_rows: int) -> None:
    assert distance(sampler(batch_rows=batch_rows).images(0, 30), sampler().images(0, 30)) <= 1


@pytest.mark.parametrize("sampler_config", [SamplerConfig(name="ddim", steps=5, eta=1.0), ANCESTRAL], ids=lambda c: c.name)
def test_noise_between_the_steps_belongs_to_the_sample_too(sampler_config: SamplerConfig) -> None:
    made = sampler(sampler=sampler_config, batch_rows=4)
    whole = made.images(0, 10)
    assert distance(np.concatenate([made.images(0, 3), made.images(3, 7)]), whole) <= 1
    assert np.array_equal(made.images(0, 10), whole)


def test_every_sample_is_another_one() -> None:
    images = sampler(labels=(0,)).images(0, 24)
    assert len({image.tobytes() for image in images}) == 24


def test_another_seed_gives_other_images() -> None:
    one, two = sampler(seed=1).images(0, 8), sampler(seed=2).images(0, 8)
    assert all(a.tobytes() != b.tobytes() for a, b in zip(one, two, strict=True))
    # A seed that were added to the sample's number would show seed 1's samples again, moved by one.
    assert not {image.tobytes() for image in two} & {image.tobytes() for image in one}


def test_labels_decide_what_is_drawn_and_cycle() -> None:
    cycled = sampler(labels=(0, 2)).images(0, 8)
    alone = sampler(labels=(2,)).images(0, 8)
    assert distance(cycled[1::2], alone[1::2]) <= 1
    assert distance(cycled[0::2], alone[0::2]) > 1


def test_a_batch_is_the_samplers_own_result_from_noise_keyed_by_sample() -> None:
    """The whole path written out once more, without the class."""
    built, wanted = model(), spec(batch_rows=6)
    numbers = torch.arange(12, 18)
    x_T = normal(stream_key(1, "generation start"), numbers, 0, (1, 8, 8))
    assert wanted.sampler is not None
    table = sampler_table(wanted.sampler, built.diffusion.schedule, "v")
    x_0 = sample(built.network.eval(), table, x_T, torch.tensor([0, 1, 2, 0, 1, 2]))
    expected = to_pixels(x_0).permute(0, 2, 3, 1).numpy()
    assert distance(ImageSampler(model(), wanted, CPU).images(12, 6), expected) <= 1


def test_guidance_one_is_the_conditional_model_and_guidance_zero_the_unconditional_one() -> None:
    """out = uncond + w (cond - uncond): at w = 0 the label asked for must not show, at w = 1 the null label must not."""
    zeros = [sampler(guidance=0.0, labels=(label,)).images(0, 8) for label in (0, 2)]
    assert distance(*zeros) <= 1
    plain, nearly = sampler(labels=(2,)).images(0, 8), sampler(guidance=1.0 + 1e-6, labels=(2,)).images(0, 8)
    assert distance(plain, nearly) <= 1
    assert distance(plain, zeros[0]) > 1
    assert distance(sampler(guidance=4.0, labels=(2,)).images(0, 8), plain) > 1


def test_a_model_without_labels_is_sampled_without() -> None:
    made = ImageSampler(model(classes=0, channels=3), spec(labels=()), CPU)
    assert made.images(0, 3).shape == (3, 8, 8, 3)


@pytest.mark.parametrize(("first", "rows", "calls"), [(0, 8, [8]), (3, 8, [8]), (0, 17, [8, 8, 1]), (0, 1, [1])])
def test_the_last_batch_is_filled_up_and_only_what_was_asked_for_counts(first: int, rows: int, calls: list[int]) -> None:
    built, counted, sizes = model(), list[int](), list[int]()

    def note(module: Any, given: tuple[Tensor, ...], result: Tensor) -> None:
        sizes.append(len(given[0]))

    built.network.register_forward_hook(note)
    images = ImageSampler(built, spec(), CPU).images(first, rows, counted.append)
    assert len(images) == rows
    assert counted == calls
    assert set(sizes) == {8}
