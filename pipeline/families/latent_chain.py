"""The two Markov chains of a latent-variable model: up from the image to its latents, and down from the latents to the image.

`q(z_1, ..., z_L | x) = q(z_1|x) q(z_2|z_1) ... q(z_L|z_{L-1})` and
`p(x, z_1, ..., z_L) = p(x|z_1) p(z_1|z_2) ... p(z_{L-1}|z_L) p(z_L)`, every factor a diagonal Gaussian made by a module,
and p(z_L) = N(0, I).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.families.family import SampleRequest
from pipeline.families.gaussians import reparameterise
from pipeline.families.noise import Draws


class Gaussian(NamedTuple):
    """A diagonal Gaussian, two tensors [B, ...] of one shape."""

    mean: Tensor
    """Mean."""
    log_std: Tensor
    """Logarithm of the standard deviation."""


class ChainPass(NamedTuple):
    """What one way up and down gives; entry k - 1 of each list belongs to latent z_k."""

    latents: list[Tensor]
    """z_1, ..., z_L drawn from the way up, each [B, ...]."""
    ups: list[Gaussian]
    """q(z_1|x), q(z_2|z_1), ..., q(z_L|z_{L-1})."""
    downs: list[Gaussian]
    """p(x|z_1), p(z_1|z_2), ..., p(z_{L-1}|z_L), at the drawn latents."""


ChainNetwork = Callable[[Tensor, Tensor | None, Sequence[Tensor]], ChainPass]
"""network(x [B, ...], labels int64 [B] or None, L standard normal tensors in the shapes of z_1..z_L) -> ChainPass."""


class LatentChain(nn.Module):
    """L encoders and L decoders as one module with one forward pass, which wrappers (DDP, compilation) can treat as any other.

    Args:
        encoders: encoders[k - 1](z_{k-1} [B, ...], labels) -> (mean, log_std) of z_k, with z_0 = x.
        decoders: decoders[k - 1](z_k [B, ...], labels) -> (mean, log_std) of z_{k-1}.

    Raises:
        ConfigError: No encoder, or another number of decoders than of encoders; in a pass, a mean of the wrong shape.
    """

    def __init__(self, encoders: Iterable[nn.Module], decoders: Iterable[nn.Module]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.decoders = nn.ModuleList(decoders)
        if len(self.encoders) != len(self.decoders) or len(self.encoders) == 0:
            got = f"{len(self.encoders)} encoders and {len(self.decoders)} decoders"
            raise ConfigError(f"LatentChain: got {got}, expected one of each for every latent layer")

    def forward(self, x: Tensor, labels: Tensor | None, noises: Sequence[Tensor]) -> ChainPass:
        """The way up with the given noise, and what the way down says of each thing on it.

        Args:
            x: [B, C, H, W] images.
            labels: int64 [B], or None.
            noises: L standard normal tensors, in the shapes of z_1..z_L.
        """
        latents: list[Tensor] = []
        ups: list[Gaussian] = []
        downs: list[Gaussian] = []
        below = x
        for k, (encoder, decoder, noise) in enumerate(zip(self.encoders, self.decoders, noises, strict=True), start=1):
            up = _gaussian(encoder(below, labels), noise, f"encoder {k}")
            latent = reparameterise(up.mean, up.log_std, noise)
            ups.append(up)
            latents.append(latent)
            downs.append(_gaussian(decoder(latent, labels), below, f"decoder {k}"))
            below = latent
        return ChainPass(latents=latents, ups=ups, downs=downs)

    def descend(self, z: Tensor, labels: Tensor | None, noises: Sequence[Tensor]) -> Gaussian:
        """p(x|z_1) after the way down from z_L.

        Args:
            z: [B, ...], z_L drawn from the prior.
            labels: int64 [B], or None.
            noises: L - 1 standard normal tensors, in the shapes of z_{L-1}, ..., z_1: in the order of the descent.
        """
        for k, noise in zip(range(len(self.decoders) - 1, 0, -1), noises, strict=True):
            down = _gaussian(self.decoders[k](z, labels), noise, f"decoder {k + 1}")
            z = reparameterise(down.mean, down.log_std, noise)
        mean, log_std = self.decoders[0](z, labels)
        return Gaussian(mean.to(z.dtype), log_std.to(z.dtype))


def finished(decoded: Gaussian, draws: Draws, *, draw_pixels: bool, bin_width: float | None) -> Tensor:
    """An image from p(x|z_1): its mean, or a draw with the noise "pixels"; pixels are clamped to [-1, 1].

    Args:
        decoded: p(x|z_1).
        draws: The samples' randomness.
        draw_pixels: Whether to draw or to take the mean.
        bin_width: None for continuous data, which is not clamped.
    """
    x = decoded.mean
    if draw_pixels:
        x = reparameterise(x, decoded.log_std, draws.normal("pixels", tuple(x.shape[1:])).to(x.dtype))
    return x if bin_width is None else x.clamp(-1.0, 1.0)


def check_latent_request(request: SampleRequest) -> None:
    """Refuses what a way down through the decoders does not have: a sampler's steps, and guidance.

    Raises:
        ConfigError: Names what does not fit.
    """
    if request.sampler is not None:
        raise ConfigError(f"sampler: got {request.sampler.name} for a model that is sampled in one pass; expected no sampler")
    if request.guidance != 1.0:
        raise ConfigError(f"guidance: got {request.guidance:g} for a model that is sampled in one pass; expected 1")


def check_latent_shape(field: str, shape: tuple[int, ...]) -> None:
    """Refuses a shape without positive sizes.

    Raises:
        ConfigError: Names the field and the shape.
    """
    if not shape or any(size < 1 for size in shape):
        raise ConfigError(f"{field}: got {shape}, expected positive sizes")


def _gaussian(parameters: tuple[Tensor, Tensor], of: Tensor, who: str) -> Gaussian:
    """A module's output as the Gaussian of something of the shape and dtype of `of`.

    Under autocast modules answer in half precision, and densities need more. A mean of another shape would be broadcast
    and dimensions counted wrongly, so it is refused; one deviation may serve several dimensions.
    """
    mean, log_std = parameters
    if mean.shape != of.shape:
        raise ConfigError(f"LatentChain: got a mean of shape {tuple(mean.shape)} from {who}, expected {tuple(of.shape)}")
    return Gaussian(mean.to(of.dtype), log_std.to(of.dtype).expand_as(mean))
