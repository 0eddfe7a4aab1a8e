"""The stream without a trainer: passes, positions, consumers, memory."""

import gc
import logging
import os
import pickle
import re
import signal
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import ray
import torch
from ray.actor import ActorHandle
from ray.cluster_utils import Cluster
from ray.exceptions import RayTaskError
from ray_processes import actor_pids, asked_pids, rss_bytes

from pipeline.errors import ConfigError, CorruptDataError, NoAnswer, ResumeMismatch, SwissrollError
from pipeline.runtime import loader_start, quarantine
from pipeline.runtime.loader import LoaderArgs, start_loaders
from pipeline.runtime.stream import Stream, stream
from pipeline.shards import open_data
from pipeline.stream import ImageSpec, StreamConfig, loader_memory, make_order
from pipeline.stream.corrupt import read_quarantine

IMAGE = ImageSpec(size=8, channels=1, num_classes=10)
CONFIG = StreamConfig(batch_size=36, lanes=6, window=50)


@pytest.fixture(scope="module", autouse=True)
def node(cluster: Cluster) -> None:
    """CPUs for loaders."""
    cluster.add_node(num_cpus=2)


def test_a_pass_is_an_epoch_and_the_next_goes_on(digits: str):
    with stream(digits, IMAGE, CONFIG, seed=1, cpus_per_loader=0.1) as source:
        assert (source.epoch, len(source)) == (0, 50)  # 1797 / 36 = 49.9
        first = []
        for number, batch in enumerate(source):
            first.append(batch)
            assert (source.epoch, len(source)) == (0, 50), number  # of the last batch as well
        assert len(first) == 50
        assert (source.epoch, len(source)) == (1, 50)
        second = list(source)
    samples = np.concatenate([b.samples.numpy() for b in first + second])
    epochs = np.concatenate([b.epochs.numpy() for b in first + second])
    assert np.array_equal(np.sort(samples[epochs == 0]), np.arange(1797))
    assert np.array_equal(np.sort(samples[epochs == 1]), np.arange(1797))


def test_a_position_is_the_same_for_other_numbers_of_consumers_and_loaders(digits: str):
    with stream(digits, IMAGE, CONFIG, seed=1, cpus_per_loader=0.1) as one:
        whole = [batch for _, batch in zip(range(8), one, strict=False)]
    parts = [stream(digits, IMAGE, CONFIG, seed=1, rank=r, world_size=3, num_loaders=2, cpus_per_loader=0.1) for r in range(3)]
    for part in parts:
        for _, _ in zip(range(4), part, strict=False):
            pass
    state = parts[0].state_dict()
    assert [part.state_dict() for part in parts] == [state] * 3
    for part in parts:
        part.close()
    with stream(digits, IMAGE, CONFIG, seed=1, num_loaders=5, cpus_per_loader=0.1) as other:
        other.load_state_dict(state)
        at = state["samples_consumed"] // 36
        assert at == 4
        for batch, expected in zip(other, whole[4:], strict=False):
            assert batch.samples.equal(expected.samples)
            assert batch.images.equal(expected.images)
            assert batch.labels.equal(expected.labels)


def test_batches_that_are_kept_are_not_written_over(digits: str):
    with stream(digits, IMAGE, CONFIG, seed=1, num_loaders=2, cpus_per_loader=0.1) as source:
        kept = list(source)
    with stream(digits, IMAGE, CONFIG, seed=1, num_loaders=2, cpus_per_loader=0.1) as source:
        for held, batch in zip(kept, source, strict=True):
            assert held.images.equal(batch.images)
            batch.images.zero_()  # a batch belongs to the consumer: what is done to it reaches no later one


def test_loaders_end_with_their_stream(digits: str):
    with stream(digits, IMAGE, CONFIG, seed=1, num_loaders=2, cpus_per_loader=0.1) as source:
        next(iter(source))
        started = set(ray.get(asked_pids(source._loaders)))
        assert len(started) == 2
        assert started <= set(actor_pids("Loader"))
    while started & set(actor_pids("Loader")):  # the test's own time limit ends it where they live on
        time.sleep(0.1)


def test_a_loader_that_stands_still_does_not_hold_up_the_others(digits: str):
    with stream(digits, IMAGE, CONFIG, seed=1, cpus_per_loader=0.1) as source:
        whole = list(source)
    with stream(digits, IMAGE, CONFIG, seed=1, num_loaders=2, cpus_per_loader=0.1, prefetch_batches=4) as source:
        batches = iter(source)
        taken = [next(batches)]
        slow = ray.get(asked_pids(source._loaders[:1]))[0]
        os.kill(slow, signal.SIGSTOP)
        try:
            assert source._feed is not None
            calls = list(source._feed._asked)
            by_loader = [[call.refs[i] for call in calls] for i in range(2)]
            # One of them answers all it was asked for, whatever the other one does.
            ray.wait([ref for refs in by_loader for ref in refs], num_returns=len(calls), timeout=60)
            answered = [len(ray.wait(refs, num_returns=len(refs), timeout=0)[0]) for refs in by_loader]
            assert max(answered) == len(calls) >= 2, answered
        finally:
            os.kill(slow, signal.SIGCONT)
        taken += list(batches)
    for batch, expected in zip(taken, whole, strict=True):
        assert batch.images.equal(expected.images)
        assert batch.samples.equal(expected.samples)


class _Interrupted(BaseException):
    """Such as KeyboardInterrupt, which would end the test run."""


def test_a_wait_that_is_interrupted_costs_no_batch(digits: str, monkeypatch: pytest.MonkeyPatch):
    with stream(digits, IMAGE, CONFIG, seed=1, cpus_per_loader=0.1) as source:
        whole = list(source)
    get, waits = ray.get, iter(range(10**6))

    def interrupted(*args: object, **options: object) -> object:
        if "timeout" in options and next(waits) in (0, 2, 3):  # in the very first wait, in a later one, and at once again
            raise _Interrupted
        return get(*args, **options)  # type: ignore[arg-type]

    taken, interruptions = [], 0
    with stream(digits, IMAGE, CONFIG, seed=1, num_loaders=2, cpus_per_loader=0.1) as source:
        monkeypatch.setattr(ray, "get", interrupted)
        while source.epoch == 0:
            try:
                taken += list(source) if interruptions == 3 else [next(iter(source))]
            except _Interrupted:
                interruptions += 1
        monkeypatch.undo()
    assert interruptions == 3
    for batch, expected in zip(taken, whole, strict=True):
        assert batch.samples.equal(expected.samples)
        assert batch.images.equal(expected.images)


def test_a_position_of_another_order_is_refused(digits: str):
    with stream(digits, IMAGE, CONFIG, seed=1, cpus_per_loader=0.1) as source:
        state = source.state_dict()
        with stream(digits, IMAGE, CONFIG, seed=2, cpus_per_loader=0.1) as other, pytest.raises(ResumeMismatch, match="order"):
            other.load_state_dict(state)


def test_more_loaders_than_cpus_share_them(digits: str):
    with stream(digits, IMAGE, CONFIG, seed=1, cpus_per_loader=0.1) as source:
        whole = list(source)
    with stream(digits, IMAGE, CONFIG, seed=1, num_loaders=4) as source:  # 4 CPUs asked for, 2 there
        for batch, expected in zip(source, whole, strict=True):
            assert batch.samples.equal(expected.samples)


def test_a_second_stream_takes_what_the_first_has_left(digits: str):
    """Training beside validation: the first has reserved all CPUs."""
    with stream(digits, IMAGE, CONFIG, seed=1, num_loaders=2) as first:
        second = stream(Path(digits), IMAGE, CONFIG, seed=1)
        one, other = next(iter(first)), next(iter(second))
        assert one.samples.equal(other.samples)
        second.close()


def test_ranks_share_what_others_have_left(digits: str):
    """Somebody holds one of two CPUs; three ranks with a loader each, which can only begin together, find room in the other."""

    @ray.remote(num_cpus=1)
    class Holder:
        def here(self) -> bool:
            return True

    holder: Any = Holder.remote()
    assert ray.get(holder.here.remote())
    while ray.available_resources().get("CPU") != 1:  # what is said of a node comes late; the test's own time limit ends it
        time.sleep(0.1)
    ranks = [stream(digits, IMAGE, CONFIG, seed=1, rank=rank, world_size=3) for rank in range(3)]
    assert sum(rank._cpus for rank in ranks) <= 1
    parts = [next(iter(rank)) for rank in ranks]
    for rank in ranks:
        rank.close()
    ray.kill(holder)
    with stream(digits, IMAGE, CONFIG, seed=1) as one:
        assert torch.cat([part.samples for part in parts]).equal(next(iter(one)).samples)


def test_a_position_loaded_in_the_loop_ends_with_its_own_epoch(digits: str):
    with stream(digits, IMAGE, CONFIG, seed=1, cpus_per_loader=0.1) as source:
        later = {**source.state_dict(), "samples_consumed": 36 * 120}
        seen = []
        for batch in source:
            seen.append(int(batch.epochs[0]))
            if len(seen) == 3:
                source.load_state_dict(later)
        assert seen[:3] == [0, 0, 0]
        assert set(seen[3:]) == {2}  # from batch 120 to the end of epoch 2, at batch 150
        assert len(seen) == 3 + 30


def test_loaders_that_cannot_start_are_named(digits: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(loader_start, "START_NOTICE_S", 3.0)
    with stream(digits, IMAGE, CONFIG, num_loaders=2, cpus_per_loader=50, share_cpus=False) as source:
        source._feed = source._feed_from_here()
        loader_start.say_who_is_missing(source._starting, source._cpus)
    assert "2 of 2 loaders have not started after 3 s: they need 50 CPUs each, 100 in all" in caplog.text
    assert "missing" in caplog.text


def test_what_is_no_position_and_a_closed_stream_are_refused(digits: str):
    with stream(digits, IMAGE, CONFIG, seed=1, cpus_per_loader=0.1) as source:
        state = source.state_dict()
        with pytest.raises(ConfigError, match="the saved position is 3600000000000"):
            source.load_state_dict({**state, "samples_consumed": 36 * 10**30})
        for wrong in (None, {"epoch": 1}, {**state, "samples_consumed": "36"}, {**state, "more": 1}):
            with pytest.raises(ConfigError, match="expected a saved position"):
                source.load_state_dict(wrong)  # type: ignore[arg-type]
        source.load_state_dict(state)
    with pytest.raises(ConfigError, match="the stream is closed"):
        source.load_state_dict(state)
    with pytest.raises(ConfigError, match="the stream is closed"):
        next(iter(source))


def test_mistakes_are_named(digits: str):
    for options, said in (
        ({"rank": 0}, "rank 0 of None consumers"),
        ({"rank": 2, "world_size": 2}, "rank 2 of 2"),
        ({"rank": 0, "world_size": 5}, "36 cannot be split over 5"),
        ({"quarantine": Path("/proc/none")}, "quarantine: got /proc/none: no file can be made there"),
        ({"num_loaders": 0}, "num_loaders must be at least 1, got 0"),
        ({"num_loaders": 1.5}, "num_loaders must be a whole number, got 1.5"),
        ({"prefetch_batches": "4"}, "prefetch_batches must be a whole number, got '4'"),
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ({"cpus_per_loader": float("nan")}, "cpus_per_loader must be above 0, got nan"),
        ({"rank": 0.0, "world_size": 2}, "rank must be a whole number, got 0.0"),
        ({"rank": True, "world_size": 2}, "rank must be a whole number, got True"),
        ({"rank": 0, "world_size": True}, "world_size must be a whole number, got True"),
        ({"cpus_per_loader": "1"}, "cpus_per_loader: got '1', expected a number"),
        ({"share_cpus": "no"}, "share_cpus: got 'no', expected True or False"),
        ({"cache": "/tmp/c"}, r"cache: got '/tmp/c', expected RangeCache\(folder=\.\.\., max_bytes=\.\.\.\) or None"),
        ({"quarantine": True}, "quarantine: got True, expected a folder or None"),
        ({"batch_size": 3}, "both a configuration and batch_size"),
    ):
        with pytest.raises(ConfigError, match=said):
            stream(digits, IMAGE, CONFIG, **options)  # type: ignore[arg-type]
    for positional, said in (
        (([digits, digits], IMAGE), r"data: got \[.*, expected one URL or pattern; several are named by braces, a folder or a"),
        ((None, IMAGE), "data: got None, expected one URL"),
        ((digits.encode(), IMAGE), "data: got b'.*, expected one URL"),
        ((digits, None), "image: got None, expected an ImageSpec"),
        ((digits, (8, 1, 10)), r"image: got \(8, 1, 10\), expected an ImageSpec"),
        ((digits, IMAGE, 256), "config: got 256, expected a StreamConfig, or batch_size= in its place"),
        ((digits, IMAGE, {}), r"config: got \{\}, expected a StreamConfig"),
    ):
        with pytest.raises(ConfigError, match=said) as refused:
            stream(*positional)  # type: ignore[arg-type]
        assert "\n" not in str(refused.value)
    for name, value in {"flip": True, "crop": "random", "max_pixels": 99, "image_field": "a.png"}.items():
        with pytest.raises(ConfigError, match=f"{name} is {value!r} in the configuration and .* in the image's"):
            stream(digits, IMAGE, replace(CONFIG, **{name: value}))


def test_a_loader_that_cannot_be_made_is_told_in_one_line(digits: str, monkeypatch: pytest.MonkeyPatch):
    def start(count: int, cpus: float, args: LoaderArgs) -> list[ActorHandle]:
        return start_loaders(count, cpus, replace(args, hub=cast(Any, SimpleNamespace())))

    monkeypatch.setattr("pipeline.runtime.stream.start_loaders", start)
    with stream(digits, IMAGE, CONFIG, seed=1, cpus_per_loader=0.1) as source:
        for _ in range(2):
            with pytest.raises(NoAnswer) as told:
                next(iter(source))
            assert re.fullmatch(
                r"a loader could not be started on the node [\d.]+: AttributeError: .* no attribute 'connect'.*",
                str(told.value),
            )
            assert told.value.__cause__ is None


@pytest.fixture
def printed(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What Ray logs of answers that nobody looked at; its loggers hand nothing up."""
    logger = logging.getLogger("ray._private.worker")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def refused(source: Stream) -> CorruptDataError:
    """The error of the next batch, as another process gets it: its traceback would keep what is on its way to the feed.

    A person who does not catch it sees the consumer's own frames, and nothing of the loader's.
    """
    with pytest.raises(CorruptDataError) as found:
        next(iter(source))
    assert "ray::" not in "".join(traceback.format_exception(found.value))
    return pickle.loads(pickle.dumps(found.value))


def ended(processes: set[int]) -> None:
    """Waits until loaders have answered all that they were asked for, and Ray has seen what of it nobody wants."""
    gc.collect()
    while processes & set(actor_pids("Loader")):  # the test's own time limit ends it where they live on
        time.sleep(0.1)
    time.sleep(1)


def test_an_error_of_a_loader_is_the_projects_own_said_once_in_one_line(digits: str, printed: pytest.LogCaptureFixture):
    fewer = ImageSpec(size=8, channels=1, num_classes=3)
    with stream(digits, fewer, CONFIG, num_loaders=2, cpus_per_loader=0.1) as source:
        processes = set(ray.get(asked_pids(source._loaders)))
        for _ in range(2):  # whoever asks again is told again
            error = refused(source)
            assert type(error) is CorruptDataError
            assert re.fullmatch(r"sample '\d+': label \d, expected 0 to 2 \(\S+\.tar at byte \d+\)", str(error))
    ended(processes)
    assert "Unhandled error" not in printed.text


def test_an_error_that_comes_after_the_consumer_has_left_is_not_printed(digits: str, printed: pytest.LogCaptureFixture):
    eights, small = ImageSpec(size=8, channels=1, num_classes=9), StreamConfig(batch_size=2, lanes=1, window=50)
    with stream(digits, IMAGE, small, cpus_per_loader=0.1) as source:
        nine = next(number for number, batch in enumerate(source) if 9 in batch.labels)
        before = {**source.state_dict(), "samples_consumed": 2 * (nine - 1)}
    assert nine > 0  # a batch that can be had, before one that cannot
    with stream(digits, eights, small, cpus_per_loader=0.1) as source:
        processes = set(ray.get(asked_pids(source._loaders)))
        source.load_state_dict(before)
        next(iter(source))
    ended(processes)
    assert "Unhandled error" not in printed.text


def test_an_error_that_is_not_ours_keeps_the_loaders_traceback(digits: str):
    with stream(digits, IMAGE, CONFIG, cpus_per_loader=0.1) as source:
        source._passes.step = 2**80  # as a defect of the code would: no position may be as far
        with pytest.raises(RayTaskError, match=r"ray::Loader\.batches") as found:
            next(iter(source))
        assert not isinstance(found.value, SwissrollError)


def listed(folder: Path) -> dict[str, set[tuple[str, int]]]:
    """What the lists in a folder name, by the last part of their names."""
    found = {path.stem.rpartition("-")[2]: read_quarantine(str(path)) for path in folder.glob("quarantine-*.jsonl")}
    assert all("label 9" in sample.reason for samples in found.values() for sample in samples)
    return {rank: {(sample.uri, sample.offset) for sample in samples} for rank, samples in found.items()}


def test_damaged_samples_are_replaced_listed_logged_and_held_to_the_budget(
    digits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Here it is their labels that do not fit; batches are the same for any number of consumers, each of which has its list."""
    monkeypatch.setattr(quarantine, "LOOK_EVERY_S", 0.0)
    image = ImageSpec(size=8, channels=1, num_classes=9)
    config = replace(CONFIG, max_corrupt_share=0.15)
    with stream(digits, image, config, seed=1, cpus_per_loader=0.1, quarantine=str(tmp_path / "one")) as source:
        whole = list(source)
    labels = np.concatenate([batch.labels.numpy() for batch in whole])
    assert (labels < 9).all()
    alone = listed(tmp_path / "one")["0"]
    assert 150 < len(alone) < 210  # a tenth of the digits are nines
    logged = [record.getMessage() for record in caplog.records if "cannot be decoded are listed in" in record.getMessage()]
    assert logged
    assert "quarantine-" in logged[0]
    assert "replaced sample" in logged[0]

    several = [
        stream(digits, image, config, seed=1, rank=r, world_size=2, cpus_per_loader=0.1, quarantine=f"file://{tmp_path}/two")
        for r in range(2)
    ]
    for step, (*parts, expected) in enumerate(zip(*several, whole, strict=True)):
        assert torch.equal(torch.cat([part.images for part in parts]), expected.images), step
        assert torch.equal(torch.cat([part.labels for part in parts]), expected.labels), step
    for source in several:
        source.close()
    lists = listed(tmp_path / "two")
    assert lists["0"] | lists["1"] == alone

    strict = replace(CONFIG, max_corrupt_share=0.01)
    refused = pytest.raises(
        CorruptDataError, match=r"18 samples cannot be decoded, at most 17 may be .*quarantine-\w+-0\.jsonl"
    )
    with stream(digits, image, strict, seed=1, cpus_per_loader=0.1, quarantine=str(tmp_path / "s")) as source, refused:
        list(source)


def test_loaders_take_the_memory_that_is_stated_and_no_more(noise: str):
    image, config = ImageSpec(size=128, channels=3, num_classes=10), StreamConfig(batch_size=32, lanes=4, window=64)
    index = open_data(noise)
    order = make_order(index, config, 0)
    stated = loader_memory(index, order, image, num_loaders=2, num_ranks=1, prefetch=1)
    with stream(noise, image, config, num_loaders=2, cpus_per_loader=0.1, prefetch_batches=1) as source:
        before = {pid: sum(rss_bytes(pid)) for pid in ray.get(asked_pids(source._loaders))}
        most = dict.fromkeys(before, 0)
        for _ in range(4):  # epochs: a loader that keeps what it should let go of grows
            for _ in source:
                most = {pid: max(most[pid], sum(rss_bytes(pid)) - before[pid]) for pid in before}
    for grown in most.values():
        # Beyond the data: threads, the decoder, numpy and pages that the allocator keeps.
        assert grown < stated.bytes_per_loader + 32e6, (most, stated)
        assert grown > 0.4 * stated.bytes_per_loader, (most, stated)
