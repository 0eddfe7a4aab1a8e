"""What the network predicts: the noise, the clean image, or v. One formula each way, shared by loss and samplers.

With a = sqrt(alpha_bar_t) and s = sqrt(1 - alpha_bar_t), `x_t = a x_0 + s eps`. Every prediction gives x_0 as a linear
function of x_t and the network's output, which is all that a sampler needs to know about it.

Ref: Ho et al. 2020, arXiv 2006.11239, eq. 15 (eps); Salimans & Ho 2022, arXiv 2202.00512, section 4 and appendix D (v).
"""

from typing import Literal, TypeVar, get_args

from torch import Tensor

from pipeline.errors import ConfigError

Prediction = Literal["v", "eps", "x0"]
"""The network's output: v = a eps - s x_0, the noise eps, or the clean image x_0."""

Coefficient = TypeVar("Coefficient", float, Tensor)


def prediction_target(prediction: Prediction, a: Tensor, s: Tensor, x0: Tensor, eps: Tensor) -> Tensor:
    """What the network should have said, in the shape of x0.

    Args:
        prediction: Which quantity the network predicts.
        a: sqrt(alpha_bar_t), broadcastable to x0.
        s: sqrt(1 - alpha_bar_t), broadcastable to x0.
        x0: Clean images.
        eps: The noise in x_t.
    """
    if prediction == "v":
        return a * eps - s * x0
    if prediction == "eps":
        return eps
    if prediction == "x0":
        return x0
    raise _unknown(prediction)


def x0_coefficients(prediction: Prediction, a: Coefficient, s: Coefficient) -> tuple[Coefficient, Coefficient]:
    """The two numbers (p, q) of `x_0 = p x_t + q output`: floats for floats, tensors for tensors.

    Args:
        prediction: Which quantity the network predicts.
        a: sqrt(alpha_bar_t).
        s: sqrt(1 - alpha_bar_t).
    """
    if prediction == "v":
        return a, -s
    if prediction == "eps":
        return 1.0 / a, -s / a
    if prediction == "x0":
        return 0.0 * a, 0.0 * a + 1.0
    raise _unknown(prediction)


def eps_from_x0(a: Tensor, s: Tensor, x_t: Tensor, x0: Tensor) -> Tensor:
    """The noise that leads from x_0 to x_t: (x_t - a x_0) / s."""
    return (x_t - a * x0) / s


def _unknown(prediction: str) -> ConfigError:
    return ConfigError(f"prediction: got {prediction!r}, expected one of {', '.join(get_args(Prediction))}")
