"""Evaluations: planned and refused before anything is computed, and the same figure whatever the batches."""

from dataclasses import replace
from pathlib import Path

import pytest
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from pipeline.checkpoints import save_model
from pipeline.errors import ConfigError, CorruptDataError
from pipeline.models import Model
from pipeline.plans.commands import parse_generate
from pipeline.plans.evaluate_plan import EvaluateConfig, plan_evaluation
from pipeline.plans.generate_plan import plan_generation
from pipeline.plans.presets import preset
from pipeline.runtime.evaluate_run import run_evaluation


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("evaluate") / "model")
    model = Model(preset("digits-hvae").model)
    save_model(folder, step=3, model=model, averages={0.06: model.network.state_dict()})
    return folder


def test_the_figure_does_not_depend_on_batches_and_follows_the_seed(data: str, checkpoint: str) -> None:
    config = EvaluateConfig(checkpoint=checkpoint, data=data, num_samples=40, batch_rows=100, accelerator="cpu")
    plan = plan_evaluation(config)
    assert plan.rows == [11, 11, 11, 7]
    seen: list[tuple[int, int]] = []
    whole = run_evaluation(plan, lambda done, total: seen.append((done, total)))
    cut = run_evaluation(plan_evaluation(replace(config, batch_rows=7)), lambda done, total: seen.append((done, total)))
    assert seen == [(40, 40), *((min(40, 7 * k), 40) for k in range(1, 7))]
    assert (whole.samples, whole.mean) == (40, pytest.approx(cut.mean, rel=1e-5))
    assert list(whole.terms) == ["reconstruction", "kl_1", "kl_2", "kl_3"]
    other = run_evaluation(plan_evaluation(replace(config, seed=1)))
    assert other.mean != whole.mean
    assert other.mean == pytest.approx(whole.mean, rel=0.2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"max_pixels": 63}, "image of 8x8 pixels, at most 63 are decoded"), ({"image_field": "left.png"}, "expected 'left.png'")],
)
def test_images_are_found_and_limited_as_for_training(
    data: str, checkpoint: str, changes: dict[str, object], says: str
) -> None:
    config = EvaluateConfig(checkpoint=checkpoint, data=data, num_samples=4, accelerator="cpu")
    fitting = {"max_pixels": 64} if "max_pixels" in changes else {"image_field": "png"}
    assert run_evaluation(plan_evaluation(replace(config, **fitting))).samples == 4  # pyright: ignore[reportArgumentType]
    with pytest.raises((ConfigError, CorruptDataError), match=says):
        run_evaluation(plan_evaluation(replace(config, **changes)))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_pixels": 0}, "max_pixels must be at least 1, got 0"),
        ({"checkpoint": ""}, "--checkpoint is missing"),
        ({"data": ""}, "--data is missing"),
        ({"num_samples": 1798}, "at most the 1797"),
        ({"ema": 0.2}, r"ema: got 0\.2, the checkpoint's averages are 0\.06"),
        ({"checkpoint": "/nowhere"}, "does not exist"),
    ],
)
def test_mistakes_are_refused_before_anything_is_computed(
    data: str, checkpoint: str, changes: dict[str, object], says: str
) -> None:
    config = EvaluateConfig(checkpoint=checkpoint, data=data)
    with pytest.raises(ConfigError, match=says):
        plan_evaluation(replace(config, **changes))  # pyright: ignore[reportArgumentType]


def test_generation_takes_the_flags_of_the_family(checkpoint: str, tmp_path: Path) -> None:
    def planned(*flags: str):
        command = ["--checkpoint", checkpoint, "--output", str(tmp_path / "out"), "--num-samples", "5", *flags]
        return plan_generation(parse_generate(command).job)

    plan = planned("--draw-pixels", "--ema", "0.06")
    assert (plan.spec.sampler, plan.spec.draw_pixels, plan.spec.ema) == (None, True, 0.06)
    assert dict(plan.describe())["sampler"] == "one pass through the decoders, pixels drawn"
    for flags, says in [
        (("--sampler", "ddim"), "sampler name: got ddim for a hvae, which is sampled in one pass"),
        (("--clip", "dynamic"), "sampler clip: got dynamic"),
        (("--guidance", "2"), "guidance: got 2"),
        (("--ema", "0.1"), r"averages are 0\.06"),
    ]:
        with pytest.raises(ConfigError, match=says):
            planned(*flags)


def test_a_diffusers_folder_is_planned_with_its_own_clipping_and_flags_change_it(tmp_path: Path) -> None:
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(4,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
        norm_num_groups=2,
        attention_head_dim=2,
    )
    DDPMPipeline(unet, DDPMScheduler(clip_sample=False)).save_pretrained(tmp_path / "theirs")
    command = ["--checkpoint", str(tmp_path / "theirs"), "--output", str(tmp_path / "out"), "--num-samples", "5"]
    sampler = plan_generation(parse_generate(command).job).spec.sampler
    assert sampler is not None
    assert (sampler.name, sampler.clip) == ("dpm++2m", "none")
    plan = plan_generation(parse_generate([*command, "--clip", "dynamic", "--dynamic-quantile", "0.9"]).job)
    assert plan.spec.sampler is not None
    assert (plan.spec.sampler.clip, plan.spec.sampler.dynamic_quantile, plan.spec.ema) == ("dynamic", 0.9, None)
    assert dict(plan.describe())["sampler"].endswith("x_0 dynamic")
    with pytest.raises(ConfigError, match="guidance needs"):
        plan_generation(parse_generate([*command, "--guidance", "2"]).job)
