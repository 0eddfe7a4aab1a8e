"""Generation on a cluster that grows and loses a node: a worker appears, lost parts are made by it, and the bytes stay."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from ray.cluster_utils import Cluster
from ray.exceptions import RayError
from ray_processes import actor_pids

from pipeline.errors import SwissrollError
from pipeline.generation import PartMaker
from pipeline.plans.commands import parse_generate
from pipeline.plans.generate_plan import GeneratePlan, plan_generation
from pipeline.plans.generate_sweep import one_output_each
from pipeline.runtime import dispatch, generator, generator_pool
from pipeline.runtime.generate_run import claim_output
from pipeline.runtime.generator import GeneratorArgs
from pipeline.runtime.generator_pool import GeneratorPool
from pipeline.runtime.hub import HubAddress, HubView, start_hub
from pipeline.runtime.stopping import stop_on_sigterm
from pipeline.samples import PartRange, PartRecord, SampleSet, verify

ROWS, PART_ROWS = 200, 5
PATIENCE_S = 250.0
pytestmark = pytest.mark.timeout(1200)  # one test has this patience four times
ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """A small model as diffusers saves it."""
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "add_attention": False}
    widths = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
    network = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, **blocks, **widths)  # pyright: ignore[reportArgumentType]
    network.save_pretrained(tmp_path / "model" / "unet")
    DDIMScheduler().save_pretrained(tmp_path / "model" / "scheduler")
    return str(tmp_path / "model")


def arguments(checkpoint: str, output: Path) -> list[str]:
    """The job's flags."""
    line = f"--num-samples {ROWS} --part-rows {PART_ROWS} --batch-rows {PART_ROWS} --sampler-steps 5 --metrics-port 0"
    return ["--checkpoint", checkpoint, "--output", str(output), *line.split()]


def commits(output: Path) -> int:
    return len(list(output.glob("commits/[0-9]*")))


def undisturbed(checkpoint: str, output: Path) -> dict[str, bytes]:
    """The set as it should be, made here without Ray."""
    (job,) = one_output_each(parse_generate(arguments(checkpoint, output)).job)
    made = claim_output(plan_generation(job))
    maker, samples = PartMaker(made.checkpoint, made.spec, made.run_spec()), SampleSet(str(output))
    for part in made.open_parts:
        samples.commit(part.first, maker.encode(part, maker.sample(part)), part.rows)
    samples.publish(ROWS)
    return content(output)


def content(output: Path) -> dict[str, bytes]:
    found = [
        file
        for name in ("data", "commits", "manifest.json", "run.json")
        for file in [output / name, *(output / name).glob("*")]
    ]
    return {str(file.relative_to(output)): file.read_bytes() for file in found if file.is_file()}


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"was waited for in vain: {what}"
        time.sleep(0.05)


def test_a_node_joins_and_another_dies_with_its_worker(cluster: Cluster, checkpoint: str, tmp_path: Path) -> None:
    expected = undisturbed(checkpoint, tmp_path / "expected")
    output = tmp_path / "samples"
    doomed = cluster.add_node(num_cpus=1)
    asleep = None
    job = subprocess.Popen(
        [sys.executable, ROOT / "jobs" / "generate.py", *arguments(checkpoint, output)],
        env={**os.environ, "RAY_ADDRESS": str(cluster.address)},
    )
    try:
        until(lambda: commits(output), "the first part")
        (asleep,) = actor_pids("Generator")
        os.kill(asleep, signal.SIGSTOP)  # holds its parts, so that the run cannot end without them
        before = commits(output)
        other = cluster.add_node(num_cpus=1)
        until(lambda: set(actor_pids("Generator")) - {asleep}, "a worker on the node that joined")
        until(lambda: commits(output) >= before + 5, "parts of the worker that joined")
        assert commits(output) < ROWS // PART_ROWS
        cluster.remove_node(doomed, allow_graceful=False)  # SIGKILL to the raylet, with which its workers die
        assert job.wait(PATIENCE_S) == 0
    finally:
        if asleep is not None:
            with contextlib.suppress(ProcessLookupError):  # gone with its node, as it should
                os.kill(asleep, signal.SIGKILL)
        job.kill()
        job.wait()
    assert content(output) == expected
    assert verify(str(output)).ok
    cluster.remove_node(other)


def planned(checkpoint: str, output: Path, *flags: str) -> GeneratePlan:
    (job,) = one_output_each(parse_generate([*arguments(checkpoint, output), *flags]).job)
    return claim_output(plan_generation(job))


def pool_of(plan: GeneratePlan, hub: HubAddress) -> GeneratorPool:
    args = GeneratorArgs(
        name="",
        checkpoint=plan.checkpoint,
        spec=plan.spec,
        conditions="",
        output=plan.config.output,
        provenance=plan.run_spec(),
        fence=None,
        hub=hub,
    )
    return GeneratorPool(plan.config, args, len(plan.open_parts))


def test_a_worker_that_does_not_come_up_for_long_is_made_anew(
    cluster: Cluster, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: not ray.cluster_resources().get("CPU"), "the nodes of other tests to be known as gone")
    plan = planned(checkpoint, tmp_path / "samples", "--num-workers", "1", "--no-share-cpus")
    hub = start_hub("generate", 0, 0)  # lives as long as its handle
    pool = pool_of(plan, hub.address)
    (first,) = pool.starting()
    assert pool.late() == []
    with monkeypatch.context() as impatient:
        impatient.setattr(generator_pool, "START_LIMIT_S", 0.0)
        assert pool.late() == ["generator-0"]
    (second,) = pool.starting()
    assert second != first
    node = cluster.add_node(num_cpus=1)
    assert ray.wait([second], timeout=PATIENCE_S)[0] == [second]
    assert pool.started(second) is None
    assert pool.idle() is not None
    assert (pool.late(), pool.deaths, pool.places) == ([], 0, 1)
    with pytest.raises(RayError):
        ray.get(first, timeout=PATIENCE_S)
    cluster.remove_node(node)


def test_a_part_that_kills_its_worker_takes_no_other_part_with_it(
    cluster: Cluster, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(generator.Generator):
        """Dies at the first part, with whatever else it was given. Defined here, so that workers need not find this file."""

        def make_part(self, part: PartRange) -> PartRecord:
            if part.first == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().make_part(part)

    monkeypatch.setattr(dispatch, "MAX_DEATHS", 1)
    monkeypatch.setattr(generator_pool, "Generator", Deadly)
    node = cluster.add_node(num_cpus=1)
    plan = planned(checkpoint, tmp_path / "samples", "--num-workers", "1", "--num-samples", str(2 * PART_ROWS))
    hub = start_hub("generate", 0, 0)
    pool = pool_of(plan, hub.address)
    run = dispatch.Dispatch(plan, [], pool, hub.handle)
    with stop_on_sigterm() as stop:
        run.run(stop)
    assert {part: why.partition(", last")[0] for part, why in run.queue.given_up.items()} == {
        PartRange(0, PART_ROWS): "failed 2 times"
    }
    assert commits(tmp_path / "samples") == 1
    assert pool.deaths == 2
    cluster.remove_node(node)


def test_workers_that_cannot_start_end_the_job_with_the_reason(
    cluster: Cluster, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "MAX_DEATHS_IN_A_ROW", 2)
    node = cluster.add_node(num_cpus=2)
    plan = planned(checkpoint, tmp_path / "samples", "--num-workers", "2")
    pool = pool_of(plan, HubAddress("a hub that is gone"))
    hub = start_hub("generate", 0, 0).handle
    with stop_on_sigterm() as stop, pytest.raises(SwissrollError, match=r"5 workers died in a row .*a hub that is gone"):
        dispatch.Dispatch(plan, [], pool, hub).run(stop)
    assert (pool.deaths, pool.places) == (5, 2)
    seen: HubView = ray.get(hub.view.remote(), timeout=PATIENCE_S)  # pyright: ignore[reportAssignmentType]
    assert "did not start" in " ".join(seen.messages)
    cluster.remove_node(node)


@pytest.mark.parametrize("allowed", [2, 3])
def test_when_all_parts_kill_their_worker_they_are_given_up_or_the_job_ends_with_one_error_that_names_them(
    cluster: Cluster, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    class Deadly(generator.Generator):
        """Dies at every part. Defined here, so that workers need not find this file."""

        def make_part(self, part: PartRange) -> PartRecord:
            os.kill(os.getpid(), signal.SIGKILL)
            return super().make_part(part)

    monkeypatch.setattr(dispatch, "MAX_DEATHS_BEFORE_ANY", 2)
    monkeypatch.setattr(dispatch, "DEATHS_OF_EACH_PLACE", 2)
    monkeypatch.setattr(generator_pool, "Generator", Deadly)
    node = cluster.add_node(num_cpus=1)
    few = ("--num-samples", str(3 * PART_ROWS), "--max-failed-parts", str(allowed))
    plan = planned(checkpoint, tmp_path / "samples", "--num-workers", "1", *few)
    hub = start_hub("generate", 0, 0)
    pool = pool_of(plan, hub.address)
    job = dispatch.Dispatch(plan, [], pool, hub.handle)
    named = r"this job made no part: each of the 3 open parts .*\(rows 0 to 4, 5 to 9, 10 to 14\); the last: "
    refused = pytest.raises(SwissrollError, match=named) if allowed < 3 else contextlib.nullcontext()
    with stop_on_sigterm() as stop, refused:
        job.run(stop)
    assert 5 <= pool.deaths <= 6
    assert len(job.queue.given_up) == (3 if allowed == 3 else 0)
    assert all("nothing else to do" in reason for reason in job.queue.given_up.values())
    cluster.remove_node(node)
