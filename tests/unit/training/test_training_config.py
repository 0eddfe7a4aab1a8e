"""Learning rate, decay of the average, and what an OptimConfig refuses."""

import pytest

from pipeline.errors import ConfigError
from pipeline.training import OptimConfig


def test_warm_up_rises_linearly_to_the_learning_rate_and_stays() -> None:
    optim = OptimConfig(learning_rate=4e-3, warmup_steps=4)
    assert [optim.learning_rate_at(step) for step in range(6)] == pytest.approx([1e-3, 2e-3, 3e-3, 4e-3, 4e-3, 4e-3])


def test_without_warm_up_the_first_step_has_the_whole_learning_rate() -> None:
    assert OptimConfig(learning_rate=4e-3, warmup_steps=0).learning_rate_at(0) == 4e-3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("warmup_steps", -1),
        ("weight_decay", -0.1),
        ("betas", (0.9, 1.0)),
        ("betas", (-0.1, 0.9)),
        ("grad_clip_norm", -1.0),
        ("ema_lengths", ()),
        ("ema_lengths", (0.1, 0.0)),
        ("ema_lengths", (0.3,)),
        ("ema_lengths", (0.1, 0.1)),
    ],
)
def test_a_bad_field_is_named_with_its_value(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{field}.*{value if not isinstance(value, tuple) else ''}"):
        OptimConfig(**{field: value})  # pyright: ignore[reportArgumentType]
