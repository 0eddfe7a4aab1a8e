"""Exactly once, with real kills at random moments: the output is byte for byte that of a job that nothing happened to.

Every round kills something else: a sampler, the whole job with SIGKILL, or the driver with SIGTERM; workers change in number.
The seed is printed; `CHAOS_ROUNDS` asks for more rounds and `CHAOS_SEED` repeats one.
"""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from conftest import BY_ONE, GENERATE, PART_ROWS, ROWS
from job_runs import SET, JobHere, Place, commits, content

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "3"))
SEED = int(os.environ.get("CHAOS_SEED", str(random.SystemRandom().randrange(10**6))))


def test_killed_at_random_moments(alone: Place, trained: Path, generated: Path, tmp_path: Path, job_here: JobHere) -> None:
    print(f"CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    output = tmp_path / "samples"
    command = ("generate.py", *GENERATE, "--checkpoint", trained, "--output", output)
    for number in range(ROUNDS):
        before = len(commits(output))
        job = alone.start(*command, "--num-workers", chance.choice([1, 2, 3]))
        wanted = min(before + chance.randint(1, 6), ROWS // PART_ROWS - 1)
        job.until(lambda wanted=wanted: len(commits(output)) >= wanted, f"{wanted} parts in round {number}")
        time.sleep(chance.uniform(0, 0.2))
        what = ("kill -9 of all", "SIGTERM", "kill -9 of a sampler and then of all")[(number + SEED) % 3]
        print(f"round {number}: {what} at {len(commits(output))} parts")
        if what == "SIGTERM":
            job.signal(signal.SIGTERM)
            time.sleep(chance.uniform(0, 3))  # a cluster kills after three seconds of grace
        elif "sampler" in what and len(commits(output)) < ROWS // PART_ROWS - 8:  # some are left to be killed
            job.kill_worker("Generator")
            time.sleep(chance.uniform(0, 0.5))
        job.kill_all()
        assert len(commits(output)) >= before, "committed parts were lost"
    (output / "data" / f".part-{0:012d}.parquet.{7:016x}.partial").write_bytes(b"what a killed writer had on the disk")
    ended = alone.run(*command, "--num-workers", 2)
    assert ended.code == 0, ended
    assert content(output, *SET) == content(generated, *SET)  # the partial file is gone, too
    assert job_here("verify.py", output).code == 0


def test_a_second_job_on_the_same_output_is_refused(alone: Place, trained: Path, generated: Path, tmp_path: Path) -> None:
    output = tmp_path / "samples"
    command = ("generate.py", *GENERATE, *BY_ONE, "--checkpoint", trained, "--output", output)
    first = alone.start(*command)
    first.until(lambda: commits(output), "the first part")
    first.signal(signal.SIGSTOP)  # asleep, so that it is not done before the second one looks
    second = alone.run(*command)
    first.signal(signal.SIGCONT)
    assert second.code == 2, second
    assert "another job is at work" in second.error_line()
    ended = first.wait()
    assert ended.code == 0, ended
    assert content(output, *SET) == content(generated, *SET)


def test_a_part_that_cannot_be_made_does_not_stop_the_others(
    alone: Place, trained: Path, generated: Path, tmp_path: Path
) -> None:
    output = tmp_path / "samples"
    foreign = output / "data" / f"part-{ROWS - PART_ROWS:012d}.parquet"
    command = ("generate.py", *GENERATE, *BY_ONE, "--checkpoint", trained, "--output", output)
    job = alone.start(*command)
    job.until((output / "run.json").exists, "the claim")  # before that the folder would be taken for somebody's own
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_bytes(b"no part of this set")
    ended = job.wait()
    assert ended.code == 1, ended
    assert (
        f"failed: rows {ROWS - PART_ROWS}-{ROWS - 1}: failed 1 time, last: got a damaged file that nobody committed"
        in ended.out
    )
    assert f"{ROWS - PART_ROWS:,} of {ROWS:,}" in ended.out
    assert len(commits(output)) == ROWS // PART_ROWS - 1
    # The same command moves the file out of the way, and makes what is missing.
    again = alone.run(*command)
    assert again.code == 0, again
    assert f"warning: data/{foreign.name}: moved to quarantine/" in again.out
    assert (output / "quarantine" / "data" / foreign.name).read_bytes() == b"no part of this set"
    assert content(output, *SET) == content(generated, *SET)


def test_more_samples_later(alone: Place, trained: Path, generated: Path, tmp_path: Path, job_here: JobHere) -> None:
    output = Path(shutil.copytree(generated, tmp_path / "samples"))
    before = content(output, "data", "commits", "run.json")
    command = ("generate.py", *GENERATE, "--checkpoint", trained, "--output", output, "--num-samples", ROWS + PART_ROWS // 2)
    ended = alone.run(*command)
    assert ended.code == 0, ended
    after = content(output, "data", "commits", "run.json")
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2  # one part, one commit
    assert f"{ROWS + PART_ROWS // 2:,} rows" in job_here("verify.py", output).out
    fewer = job_here("generate.py", *GENERATE, "--checkpoint", trained, "--output", output)
    assert fewer.code == 2
    assert f"expected at least the {ROWS + PART_ROWS // 2} committed" in fewer.err


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 16
    file.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "names",
    [
        ("data/part-000000000040.parquet", "manifest.json"),
        ("run.json", "data/part-000000000000.parquet"),
        ("manifest.json",),
    ],
    ids="+".join,
)
def test_repair_gets_the_same_bytes(generated: Path, tmp_path: Path, job_here: JobHere, names: tuple[str, ...]) -> None:
    output = Path(shutil.copytree(generated, tmp_path / "samples"))
    for name in names:
        flip(output / name)
    (output / "data" / "stray.parquet").write_bytes(b"x")
    lost = output / "data" / f"part-{5 * PART_ROWS:012d}.parquet"
    lost.unlink()
    damaged = job_here("verify.py", output)
    assert damaged.code == 1
    assert all(name.rpartition("/")[2] in damaged.out for name in (*names, lost.name, "stray.parquet"))
    mended = job_here("verify.py", output, "--repair")
    assert mended.code == 0, mended
    assert content(output, *SET) == content(generated, *SET)
    assert (output / "quarantine" / "data" / "stray.parquet").exists()
