"""One holder of a folder at a time, and stores that do not keep the promise that makes it so."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from s3_double import S3Double

from pipeline import storage
from pipeline.errors import CommitConflict, ConfigError, TransientStorageError
from pipeline.storage import Fence, LeaseTiming, honours_put_once, lease, leased

QUICK = LeaseTiming(beat_s=0.05, expires_s=10.0)
SHORT = LeaseTiming(beat_s=0.05, expires_s=0.6)


def silent_holder(root: str, token: int = 1) -> None:
    """What a holder on another machine leaves when it is gone: its last beat."""
    storage.put_once(storage.join(root, f"lease/{token:012d}.holder"), json.dumps({"host": "far", "pid": 7}).encode())
    storage.put_once(storage.join(root, f"lease/{token:012d}.beat"), b"3")


def test_a_second_job_is_refused_while_the_first_is_at_work(root: str) -> None:
    with leased(root, QUICK) as fence:
        with pytest.raises(ConfigError, match=r"another job is at work in .*process"), leased(root, QUICK):
            pytest.fail("both have it")
        fence.check()
    with leased(root, QUICK) as later:
        assert later.token == fence.token + 1


def test_a_silent_holder_is_waited_for_and_then_replaced(root: str) -> None:
    silent_holder(root)
    begin = time.monotonic()
    with leased(root, SHORT) as fence:
        assert time.monotonic() - begin >= SHORT.expires_s
        with pytest.raises(CommitConflict, match="another job took over"):
            Fence(root, 1).check()
        fence.check()


def test_time_in_which_the_store_does_not_answer_is_no_silence_of_the_holder(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent_holder(root)
    timing = LeaseTiming(beat_s=0.05, expires_s=60.0)
    beat_of, clock = lease._beat_of, time.monotonic
    looks, outage_s = 0, 0.0

    def out_of_reach(url: str, token: int) -> bytes:
        nonlocal looks, outage_s
        looks += 1
        found = beat_of(url, token)
        if looks == 2:
            outage_s = timing.expires_s + timing.beat_s
        if looks == 5:  # the holder is heard a while after it
            storage.put_replace(storage.join(root, "lease/000000000001.beat"), b"4")
        return found

    monkeypatch.setattr(lease, "_beat_of", out_of_reach)
    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=lambda: clock() + outage_s, sleep=time.sleep))
    with pytest.raises(ConfigError, match="far, process 7"), leased(root, timing):
        pytest.fail("it was not free")
    assert looks == 6


def test_a_store_that_is_silent_again_and_again_is_not_waited_for(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    silent_holder(root)
    timing = LeaseTiming(beat_s=0.02, expires_s=0.2)
    beat_of = lease._beat_of

    def slow(url: str, token: int) -> bytes:
        time.sleep(0.15)
        return beat_of(url, token)

    monkeypatch.setattr(lease, "_beat_of", slow)
    with pytest.raises(TransientStorageError, match="silent 5 times"), leased(root, timing):
        pytest.fail("it was not free")


def test_a_holder_that_beats_again_keeps_its_lease(root: str) -> None:
    silent_holder(root)
    with ThreadPoolExecutor(1) as pool:
        slow = LeaseTiming(beat_s=0.1, expires_s=30)

        def take() -> None:
            with leased(root, slow):
                pytest.fail("it was not free")

        newcomer = pool.submit(take)
        while not newcomer.done():
            time.sleep(0.05)
            storage.put_replace(storage.join(root, "lease/000000000001.beat"), str(time.monotonic()).encode())
        with pytest.raises(ConfigError, match="far, process 7"):
            newcomer.result()


def test_of_many_that_find_it_free_one_gets_it(root: str) -> None:
    others = threading.Semaphore(0)

    def attempt(number: int) -> bool:
        try:
            with leased(root, QUICK):
                return all(others.acquire(timeout=60) for _ in range(5))
        except ConfigError:
            others.release()
            return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(attempt, range(6))) == 1


def test_a_holder_that_died_on_this_machine_is_not_waited_for(root: str) -> None:
    if root.startswith("memory"):
        pytest.skip("another process has another memory")
    code = "import os, sys; from pipeline.storage import leased\nwith leased(sys.argv[1]) as fence: fence.check(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, root], check=False).returncode == 9
    begin = time.monotonic()
    with leased(root, LeaseTiming(expires_s=600)) as fence:
        assert fence.token == 2
    assert time.monotonic() - begin < 300


def test_a_newcomer_that_slept_over_several_leases_gets_none(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It saw token 1, slept, and finds 2 gone: old tokens are cleared away."""
    for _ in range(4):
        with leased(root, QUICK):
            pass
    look = lease._highest
    seen = []

    def stale(url: str) -> int:
        seen.append(url)
        return 1 if len(seen) == 1 else look(url)

    monkeypatch.setattr(lease, "_highest", stale)
    monkeypatch.setattr(lease, "_wait_until_free", lambda *given: None)
    with pytest.raises(ConfigError, match="at work"), leased(root, QUICK):
        pytest.fail("a stale token was taken")


def test_a_holder_that_slept_over_several_takeovers_is_still_told(root: str) -> None:
    """By then nothing is left of the lease after its own, nor of its own."""
    silent_holder(root)
    asleep = Fence(root, 1)
    asleep.check()
    for token in (2, 3, 4):
        with leased(root, SHORT) as fence:
            assert fence.token == token
            with pytest.raises(CommitConflict, match="another job took over"):
                asleep.check()
        with pytest.raises(CommitConflict, match="another job took over"):
            asleep.check()


def test_a_folder_that_was_removed_is_nobodys(root: str) -> None:
    with leased(root, QUICK) as fence:
        storage.remove_tree(storage.join(root, "lease/000000000001.holder"))  # as when all of it is
        with pytest.raises(CommitConflict, match="the folder was removed"):
            fence.check()


def test_every_store_here_creates_once_and_the_probe_leaves_nothing(root: str) -> None:
    assert honours_put_once(root)
    assert storage.list_objects(root, recursive=True) == []


def test_a_store_that_ignores_the_condition_is_found(s3: S3Double) -> None:
    s3.ignores_condition = True
    assert not honours_put_once("s3://bucket/root")
    assert storage.list_objects("s3://bucket/root", recursive=True) == []
