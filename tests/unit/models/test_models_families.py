"""All families behind one interface: each learns, is bounded in bits, and samples by sample number; the presets fit."""

import dataclasses
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from pipeline.errors import ConfigError
from pipeline.families import VAE, Diffusion, DiffusionConfig, Draws, HierarchicalVAE, LatentChain, SamplerConfig, SampleRequest
from pipeline.models import ImageConfig, LatentConfig, Model, ModelConfig, make_family
from pipeline.models.model import scaled
from pipeline.networks import CoderConfig, UNetConfig

IMAGE = ImageConfig(size=8, channels=1, num_classes=3)
CODERS = CoderConfig(widths=(8, 16), hidden=16, norm_groups=4)
CONFIGS = {
    "diffusion": ModelConfig(
        image=IMAGE,
        family=DiffusionConfig(timesteps=20),
        network=UNetConfig(widths=(8, 16), blocks=1, attention=(False, False), norm_groups=4),
    ),
    "vae": ModelConfig(image=IMAGE, family=LatentConfig(latent_sizes=(6,)), network=CODERS),
    "hvae": ModelConfig(image=IMAGE, family=LatentConfig(latent_sizes=(6, 5, 4, 3)), network=CODERS),
}
families = pytest.mark.parametrize("name", CONFIGS)


def draws(*samples: int) -> Draws:
    numbers = torch.tensor(samples)
    return Draws(seed=4, samples=numbers, epochs=torch.zeros_like(numbers))


def images(count: int) -> torch.Tensor:
    """A bright square on a dark ground, moved by the sample's number."""
    pixels = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    for i in range(count):
        pixels[i, :, i % 4 : i % 4 + 4, 2:6] = 230
    return pixels


def request(name: str) -> SampleRequest:
    return SampleRequest(sampler=SamplerConfig(steps=4) if name == "diffusion" else None)


@families
def test_the_name_belongs_to_the_family_that_is_built(name: str) -> None:
    assert CONFIGS[name].family_name == name
    kinds = {"diffusion": Diffusion, "vae": VAE, "hvae": HierarchicalVAE}
    assert type(make_family(CONFIGS[name])) is kinds[name]


@families
def test_training_on_one_batch_lowers_the_bound(name: str) -> None:
    model, labels = Model(CONFIGS[name]), torch.arange(8) % 3
    before = float(model.bound(images(8), labels, draws(*range(8))).bits_per_dim().mean())
    optimizer = torch.optim.Adam(model.network.parameters(), lr=3e-3)
    for step in range(60):
        optimizer.zero_grad()
        model.loss(model.network, images(8), labels, draws(*range(8 * step, 8 * step + 8))).mean().backward()
        assert all(p.grad is not None for p in model.network.parameters())  # else ranks could not average gradients
        optimizer.step()
    assert float(model.bound(images(8), labels, draws(*range(8))).bits_per_dim().mean()) < 0.8 * before


@families
def test_terms_add_up_to_the_bound(name: str) -> None:
    bound = Model(CONFIGS[name]).bound(images(4), torch.tensor([0, 1, 2, 0]), draws(0, 1, 2, 3))
    assert bound.is_bound
    assert torch.allclose(torch.stack(list(bound.terms.values())).sum(0), bound.total, rtol=1e-5)
    wanted = {"diffusion": ["prior", "diffusion", "decoder"], "vae": ["reconstruction", "kl_1"]}
    assert list(bound.terms) == wanted.get(name, ["reconstruction", "kl_1", "kl_2", "kl_3", "kl_4"])


@families
def test_a_sample_belongs_to_its_number_and_label(name: str) -> None:
    model = Model(CONFIGS[name])
    with torch.no_grad():
        for tensor_name, value in model.network.named_parameters():
            if "class_embedding" in tensor_name or "label" in tensor_name:
                value.mul_(20)  # a fresh embedding would hardly be heard
    whole = model.sample(torch.tensor([0, 1, 2]), draws(5, 6, 7), request(name))
    assert whole.shape == (3, 1, 8, 8)
    assert float(whole.abs().max()) <= 1.0
    alone = model.sample(torch.tensor([1]), draws(6), request(name))
    assert torch.allclose(alone[0], whole[1], atol=1e-5)
    assert not torch.allclose(model.sample(torch.tensor([2]), draws(6), request(name))[0], whole[1], atol=1e-3)
    assert not torch.allclose(model.sample(torch.tensor([1]), draws(8), request(name))[0], whole[1], atol=1e-3)


@pytest.mark.parametrize("name", ["vae", "hvae"])
def test_drawn_pixels_scatter_about_the_mean_ones_by_the_decoders_deviation(name: str) -> None:
    model, numbers = Model(CONFIGS[name]), draws(*range(300))
    labels = torch.zeros(300, dtype=torch.int64)
    mean = model.sample(labels, numbers, SampleRequest())
    drawn = model.sample(labels, numbers, SampleRequest(draw_pixels=True))
    inside = (drawn.abs() < 1) & (mean.abs() < 1)
    # Fresh weights: log standard deviations near the centre of their range, -2.5.
    assert float((drawn - mean)[inside].std()) == pytest.approx(0.082, rel=0.5)


@families
def test_a_configuration_survives_json(name: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(ModelConfig)
    assert adapter.validate_json(adapter.dump_json(CONFIGS[name])) == CONFIGS[name]
    assert dataclasses.asdict(CONFIGS[name])["family"]["kind"] == ("diffusion" if name == "diffusion" else "vae")


@pytest.mark.parametrize(
    ("name", "asked", "says"),
    [
        ("vae", SampleRequest(sampler=SamplerConfig()), r"sampler: got dpm\+\+2m .* one pass"),
        ("hvae", SampleRequest(guidance=2.0), "guidance: got 2 .* one pass"),
        ("diffusion", SampleRequest(), "without a sampler"),
        ("diffusion", SampleRequest(sampler=SamplerConfig(steps=21)), "21 steps"),
        ("diffusion", SampleRequest(sampler=SamplerConfig(steps=4), guidance=2.0), "null label"),
        ("diffusion", SampleRequest(sampler=SamplerConfig(steps=4), draw_pixels=True), "draw_pixels"),
    ],
)
def test_a_request_that_a_family_cannot_serve_is_refused(name: str, asked: SampleRequest, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_family(CONFIGS[name]).check(asked)


def test_a_network_of_another_family_is_refused() -> None:
    with pytest.raises(ConfigError, match="got CoderConfig for a diffusion model, expected UNetConfig or"):
        ModelConfig(image=IMAGE, network=CODERS)
    with pytest.raises(ConfigError, match="got UNetConfig for a vae model, expected CoderConfig"):
        ModelConfig(image=IMAGE, family=LatentConfig())
    with pytest.raises(ConfigError, match="multiple of 2"):
        ModelConfig(image=ImageConfig(size=7), family=LatentConfig(), network=CODERS)


def test_only_a_diffusion_model_has_timesteps() -> None:
    assert Model(CONFIGS["diffusion"]).diffusion.timesteps == 20
    with pytest.raises(ConfigError, match="family hvae, expected a diffusion model"):
        _ = Model(CONFIGS["hvae"]).diffusion


def test_labels_are_given_to_models_that_know_some_only() -> None:
    plain = Model(dataclasses.replace(CONFIGS["hvae"], image=ImageConfig(size=8, channels=1)))
    assert plain.bound(images(2), torch.tensor([-1, -1]), draws(0, 1)).total.shape == (2,)
    labelled = Model(CONFIGS["hvae"])
    assert isinstance(labelled.network, LatentChain)
    with pytest.raises(ConfigError, match="expected one of 3 classes"):
        labelled.network(scaled(images(2)), None, [torch.zeros(2, n) for n in (6, 5, 4, 3)])
