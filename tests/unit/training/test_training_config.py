"""Learning rate, decay of the average, and what an OptimConfig refuses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.training import OptimConfig


def test_warm_up_rises_linearly_to_the_learning_rate_and_stays() -> None:
    optim = OptimConfig(learning_rate=4e-3, warmup_steps=4)
    assert [optim.learning_rate_at(step) for step in range(6)] == pytest.approx([1e-3, 2e-3, 3e-3, 4e-3, 4e-3, 4e-3])


def test_without_warm_up_the_first_step_has_the_whole_learning_rate() -> None:
    assert OptimConfig(learning_rate=4e-3, warmup_steps=0).learning_rate_at(0) == 4e-3


@given(half_life=st.floats(0.5, 1e5), ramp=st.floats(0.001, 10), step=st.integers(1, 10**7))
def test_decay_to_the_power_of_the_half_life_is_one_half(half_life: float, ramp: float, step: int) -> None:
    optim = OptimConfig(ema_half_life_steps=half_life, ema_ramp_up=ramp)
    here = min(half_life, step * ramp)
    assert optim.ema_decay_at(step) ** here == pytest.approx(0.5, rel=1e-6)
    assert optim.ema_decay_at(step) <= optim.ema_decay_at(step + 1) < 1


def test_early_average_forgets_the_initial_weights() -> None:
    """The share of the initial weights left after n steps falls as a power of n, however long the half-life is."""
    optim = OptimConfig(ema_half_life_steps=1e9, ema_ramp_up=0.05)
    left = math.prod(optim.ema_decay_at(step) for step in range(1, 1001))
    assert left < 1e-20


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("warmup_steps", -1),
        ("weight_decay", -0.1),
        ("betas", (0.9, 1.0)),
        ("betas", (-0.1, 0.9)),
        ("grad_clip_norm", -1.0),
        ("ema_half_life_steps", 0.0),
        ("ema_ramp_up", 0.0),
    ],
)
def test_a_bad_field_is_named_with_its_value(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{field}.*{value if not isinstance(value, tuple) else ''}"):
        OptimConfig(**{field: value})  # pyright: ignore[reportArgumentType]
