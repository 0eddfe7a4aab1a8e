"""Folders that diffusers saved: read as what they are, sampled as diffusers samples them, refused by name otherwise."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

from pipeline.checkpoints import inspect_checkpoint, load_model, resolve
from pipeline.errors import ConfigError
from pipeline.families import DiffusionConfig, Draws, SamplerConfig, SampleRequest

SCHEDULERS: dict[str, Any] = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler, "dpm": DPMSolverMultistepScheduler}


def unet(classes: int | None = None, channels: int = 3) -> UNet2DModel:
    """A shape that our own configuration does not have."""
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=4,
        num_class_embeds=classes,
        act_fn="gelu",
        downsample_type="resnet",
    )


def saved(folder: Path, scheduler: Any, classes: int | None = None, **save: Any) -> str:
    """An unconditional folder is a whole pipeline; diffusers has no pipeline of ours for one with classes."""
    if classes is None:
        DDPMPipeline(unet(), scheduler).save_pretrained(folder, **save)
    else:
        unet(classes).save_pretrained(folder / "unet", **save)
        scheduler.save_pretrained(folder / "scheduler")
    return str(folder)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("classes", [None, 4])
def test_network_and_schedule_are_theirs(tmp_path: Path, name: str, classes: int | None) -> None:
    scheduler = SCHEDULERS[name](beta_schedule="scaled_linear", beta_start=0.0008, beta_end=0.012, num_train_timesteps=500)
    url = saved(tmp_path, scheduler, classes)
    assert resolve(url) == url
    loaded = load_model(url).model
    assert (loaded.config.image.shape, loaded.config.image.num_classes, loaded.null_label) == ((3, 8, 8), classes or 0, None)
    assert torch.allclose(loaded.diffusion.schedule.alpha_bar, scheduler.alphas_cumprod.double(), rtol=1e-4)
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([3, 400])
    labels = None if classes is None else torch.tensor([0, 3])
    with torch.no_grad():
        expected = unet(classes).eval()(x, t, class_labels=labels).sample
        assert torch.allclose(loaded.network(x, t, labels), expected, atol=1e-6)


@pytest.mark.parametrize("clip", [True, False])
def test_the_whole_way_to_the_image_is_that_of_their_scheduler(tmp_path: Path, clip: bool) -> None:
    scheduler: Any = DDIMScheduler(clip_sample=clip, timestep_spacing="trailing")
    loaded = load_model(saved(tmp_path, scheduler)).model
    default = loaded.family.default_sampler
    assert default is not None
    assert default.clip == ("clip" if clip else "none")
    numbers = torch.arange(3)
    request = SampleRequest(sampler=SamplerConfig(name="ddim", steps=5, clip=default.clip))
    draws = Draws(seed=2, samples=numbers, epochs=torch.zeros_like(numbers))
    ours = loaded.sample(None, draws, request)
    x, theirs = draws.normal("generation start", (3, 8, 8)), unet().eval()
    scheduler.set_timesteps(5)
    for t in scheduler.timesteps:
        with torch.no_grad():
            # The direction of the noise is that of the clipped image here, which they leave to the caller.
            x = scheduler.step(theirs(x, t).sample, t, x, use_clipped_model_output=clip).prev_sample
    assert torch.allclose(ours, x, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("scheduler", "clip", "prediction"),
    [
        (DDPMScheduler(prediction_type="v_prediction"), "clip", "v"),
        (DDPMScheduler(thresholding=True, prediction_type="sample"), "dynamic", "x0"),
        (DPMSolverMultistepScheduler(), "none", "eps"),
    ],
    ids=["v", "thresholding", "dpm"],
)
def test_prediction_and_clipping_are_theirs(tmp_path: Path, scheduler: Any, clip: str, prediction: str) -> None:
    family = inspect_checkpoint(saved(tmp_path, scheduler)).config.family
    assert isinstance(family, DiffusionConfig)
    assert (family.default_clip, family.prediction) == (clip, prediction)


def test_digest_is_of_what_decides_the_samples(tmp_path: Path) -> None:
    urls = [saved(tmp_path / "a", DDPMScheduler()), saved(tmp_path / "b", DDPMScheduler())]
    urls.append(saved(tmp_path / "c", DDPMScheduler(beta_end=0.03)))
    a, b, c = (inspect_checkpoint(url).digest for url in urls)
    assert a == b != c
    assert load_model(urls[0]).digest == a


def test_pickled_weights_are_refused_by_name(tmp_path: Path) -> None:
    url = saved(tmp_path, DDPMScheduler(), safe_serialization=False)
    assert (tmp_path / "unet" / "diffusion_pytorch_model.bin").exists()
    with pytest.raises(ConfigError, match=r"unet/diffusion_pytorch_model\.bin, which is a pickle and is never read"):
        inspect_checkpoint(resolve(url))


def edited(folder: Path, name: str, **changes: Any) -> str:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return str(folder)


@pytest.mark.parametrize(
    ("file", "changes", "says"),
    [
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "UNet2DConditionModel, expected UNet2DModel"),
        ("unet/config.json", {"out_channels": 6}, "3 channels in and 6 out"),
        ("unet/config.json", {"sample_size": [8, 16]}, r"sample_size \[8, 16\]"),
        ("unet/config.json", {"class_embed_type": "timestep"}, "class_embed_type 'timestep'"),
        ("scheduler/scheduler_config.json", {"_class_name": "KarrasVeScheduler"}, "KarrasVeScheduler, expected one of DDPM"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "prediction_type 'flow'"),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "odd"}, "odd"),
        ("scheduler/scheduler_config.json", {"clip_sample_range": 2.0}, "clip_sample_range"),
    ],
)
def test_what_cannot_be_sampled_here_is_refused_by_name(tmp_path: Path, file: str, changes: dict[str, Any], says: str) -> None:
    saved(tmp_path, DDPMScheduler())
    with pytest.raises(ConfigError, match=says):
        inspect_checkpoint(edited(tmp_path, file, **changes))


def test_a_network_without_its_scheduler_is_refused(tmp_path: Path) -> None:
    unet().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="single network"):
        inspect_checkpoint(resolve(str(tmp_path)))
    unet().save_pretrained(tmp_path / "pipe" / "unet")
    with pytest.raises(ConfigError, match=r"no scheduler/scheduler_config\.json"):
        inspect_checkpoint(str(tmp_path / "pipe"))
