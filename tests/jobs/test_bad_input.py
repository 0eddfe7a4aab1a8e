"""Every mistake a user can make: exit code 2, one line that says what was got, what was expected and where, nothing written."""

import io
import json
import shutil
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from job_runs import JobHere, Place
from PIL import Image

TRAIN = "train.py", "digits"


def refused(job_here: JobHere, *command: object, says: tuple[str, ...], untouched: Path) -> None:
    """Runs a command that must be refused in one line, leaving the output folder as it is."""
    before = snapshot(untouched)
    ended = job_here(*map(str, command))
    line = ended.error_line()
    assert ended.code == 2, line
    assert line.startswith("error: ")
    for part in says:
        assert part in line
    assert ended.out == ""
    assert snapshot(untouched) == before


def snapshot(folder: Path) -> dict[str, int] | None:
    """Every file with its time of change; None for a folder that is not there."""
    if not folder.exists():
        return None
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*")}


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 7).save(buffer, "PNG")
    return buffer.getvalue()


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def unlabelled(folder: Path) -> Path:
    return tar(folder / "unlabelled.tar", {f"{i:03d}.png": png() for i in range(70)})


def labelled(path: Path, label: bytes) -> Path:
    return tar(path, {f"{i:03d}.{kind}": data for i in range(70) for kind, data in (("png", png()), ("cls", label))})


def high_label(folder: Path) -> Path:
    return labelled(folder / "high.tar", b"12")


def few(folder: Path) -> Path:
    return tar(folder / "few.tar", {"0.png": png(), "0.cls": b"1"})


def no_images(folder: Path) -> Path:
    return tar(folder / "text.tar", {f"{i:03d}.txt": b"hello" for i in range(70)})


def no_tar(folder: Path) -> Path:
    path = folder / "noise.tar"
    path.write_bytes(b"this is a text and no archive\n" * 100)
    return path


def cut_tar(folder: Path) -> Path:
    whole = labelled(folder / "cut.tar", b"1")
    whole.write_bytes(whole.read_bytes()[:5000])
    return whole


def empty_tar(folder: Path) -> Path:
    return tar(folder / "empty.tar", {})


def zero_bytes(folder: Path) -> Path:
    path = folder / "zero.tar"
    path.write_bytes(b"")
    return path


def empty_folder(folder: Path) -> Path:
    path = folder / "nothing-here"
    path.mkdir()
    return path


def missing(folder: Path) -> Path:
    return folder / "missing"


def missing_shard(folder: Path) -> Path:
    few(folder)
    return folder / "few{,-{0..3}}.tar"


def no_match(folder: Path) -> Path:
    return folder / "shard-*.tar"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (missing, ("missing", "expected a .tar")),
        (missing_shard, ("few-0.tar", "3 more")),
        (no_match, ("shard-*.tar", "matches nothing", "expected")),
        (no_tar, ("noise.tar", "tar")),
        (cut_tar, ("cut.tar",)),
        (empty_tar, ("empty.tar", "sample")),
        (zero_bytes, ("zero.tar",)),
        (empty_folder, ("nothing-here", "no .tar")),
        (unlabelled, ("unlabelled.tar", "no label", "'cls'")),
        (high_label, ("high.tar", "label 12", "0 to 9")),
        (no_images, ("text.tar", "expected an image")),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_data(job_here: JobHere, tmp_path: Path, make: Callable[[Path], Path], says: tuple[str, ...]):
    run = tmp_path / "run"
    refused(job_here, *TRAIN, "--data", make(tmp_path), "--run-dir", run, says=says, untouched=run)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("train.py", "digit"), ("unknown preset 'digit'", "did you mean digits?")),
        (("train.py", "xyzzy"), ("unknown preset 'xyzzy'", "mnist, mnist-vae")),
        (("train.py",), ("preset is missing", "mnist, mnist-vae")),
        ((*TRAIN, "--stepz", "3"), ("unknown flag --stepz", "--steps?")),
        ((*TRAIN, "--num-loader", "3"), ("unknown flag --num-loader", "--num-loaders?")),
        ((*TRAIN, "--zzzzzz"), ("unknown flag --zzzzzz", "--help")),
        ((*TRAIN, "extra"), ("unexpected argument 'extra'",)),
        ((*TRAIN, "--steps", "many"), ("--steps", "many")),
        ((*TRAIN, "--steps", "0"), ("steps", "at least 1", "got 0")),
        ((*TRAIN, "--steps"), ("--steps",)),
        ((*TRAIN, "--batch-size", "64", "--num-workers", "3"), ("64", "3 workers", "multiple")),
        ((*TRAIN, "--batch-size", "-1"), ("batch_size", "at least 1", "got -1")),
        ((*TRAIN, "--num-workers", "0"), ("num_workers", "at least 1", "got 0")),
        ((*TRAIN, "--stream.lanes", "7"), ("lanes", "64", "got 7")),
        ((*TRAIN, "--metrics-port", "99999999"), ("metrics", "99999999", "65535")),
        ((*TRAIN, "--run-dir", "run"), ("--data is missing",)),
        ((*TRAIN, "--data", "shards"), ("--run-dir is missing",)),
        ((*TRAIN, "--config", "missing.json"), ("preset digits", "missing.json", "one of them")),
        (("train.py", "--config", "missing.json"), ("no configuration file", "missing.json")),
        (("generate.py", "--output", "o", "--num-samples", "1"), ("--checkpoint is missing",)),
        (("generate.py", "--checkpoint", "c", "--num-samples", "1"), ("--output is missing",)),
        (("generate.py", "--num-sample", "1"), ("unknown flag --num-sample", "--num-samples?")),
        (("generate.py", "--sampler", "euler"), ("sampler", "euler", "ddim")),
        (("generate.py", "--num-samples", "-4"), ("num_samples", "got -4")),
        (("generate.py", "--metrics-port", "-2"), ("metrics", "-2", "65535")),
        (
            ("generate.py", "--checkpoint", "gone", "--output", "o", "--num-samples", "1"),
            ("gone does not exist",),
        ),
        (("pack.py", "--output", "o"), ("--images is missing",)),
        (("pack.py", "--images", "digits"), ("--output is missing",)),
        (("pack.py", "--images", "gone", "--output", "o"), ("gone", "nothing", "mnist")),
        (("pack.py", "--images", "digits", "--output", "o", "--shard-size", "0"), ("shard_size", "at least 1")),
        (("pack.py", "--image", "digits"), ("unknown flag --image", "--images?")),
        (("verify.py",), ("no arguments", "usage: verify.py URL")),
        (("verify.py", "gone"), ("gone", "no sample set")),
        (("verify.py", "a", "b"), ("a b", "usage: verify.py URL")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and value[0].endswith(".py") else "",
)
def test_command_line(
    job_here: JobHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], says: tuple[str, ...]
):
    monkeypatch.chdir(tmp_path)
    refused(job_here, *command, says=says, untouched=tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        (*TRAIN, "--data", "shards", "--run-dir", "run"),
        ("generate.py", "--checkpoint", "run", "--num-samples", "1", "--output", "samples"),
    ],
    ids=lambda command: command[0],
)
def test_taken_metrics_port(job_here: JobHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        says = (f"--metrics-port {port}", "in use", "expected a free port")
        refused(job_here, *command, "--metrics-port", port, says=says, untouched=tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        (*TRAIN, "--data", "shards", "--run-dir", "here/run"),
        ("generate.py", "--checkpoint", "/c", "--num-samples", "1", "--output", "file://here"),
        ("generate.py", "--checkpoint", "/c", "--num-samples", "1", "--output", "/o", "--summary", "here.json"),
        (*TRAIN, "--data", "shards", "--run-dir", "/o", "--summary", "here.json"),
        ("pack.py", "--images", "digits", "--output", "here"),
    ],
    ids=lambda command: command[0],
)
def test_relative_output_in_a_submitted_job(
    job_here: JobHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    refused(job_here, *command, says=("relative path", "here", "expected an absolute path"), untouched=tmp_path)


SUMMARY = {
    "train.py": (*TRAIN, "--data", "gone", "--run-dir", "run"),
    "generate.py": ("generate.py", "--checkpoint", "gone", "--num-samples", "1", "--output", "out"),
    "evaluate.py": ("evaluate.py", "--checkpoint", "gone", "--data", "gone"),
}


@pytest.mark.parametrize("command", SUMMARY.values(), ids=SUMMARY)
@pytest.mark.parametrize(
    ("url", "says"),
    [
        (".", ("a folder", "expected a file")),
        ("s4://a/b", ("s4://a/b", "cannot be written to", "s3")),
        ("https://example.com/sum.json", ("cannot be written to",)),
        ("/proc/xx/y", ("/proc/xx/y", "no file can be made there")),
        ("file/sum.json", ("a file is in the way",)),
        ("n" * 250, ("a name is too long",)),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_a_summary_that_cannot_be_written_is_refused_before_the_work(
    job_here: JobHere,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    url: str,
    says: tuple[str, ...],
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    refused(job_here, *command, "--summary", url, says=("--summary", *says), untouched=tmp_path)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("a::b", ("a chain of URLs",)),
        ("out/" + "n" * 256, ("a name is too long", "at most 255 bytes")),
        ("n" * 256 + "/out", ("a name is too long",)),
        ("/proc/self/x", ("no file can be made there",)),
        ("https://example.com/out", ("cannot be written to", "s3")),
        ("file:pth/q", ("expected // after the colon", "./file:pth/q")),
        ("s3:bucket/q", ("expected // after the colon",)),
        ("FILE:///proc/self/x", ("no file can be made there",)),
        ("HTTPS://example.com/out", ("cannot be written to", "s3")),
        ("~nosuchuser/x", ("a user of this machine",)),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_an_output_that_is_no_place_to_write_to(
    job_here: JobHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, says: tuple[str, ...]
):
    monkeypatch.chdir(tmp_path)
    for command in (
        ("generate.py", "--checkpoint", "gone", "--num-samples", "1", "--output"),
        ("pack.py", "--images", "gone", "--output"),
    ):
        refused(job_here, *command, url, says=("--output", *says), untouched=tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stepz": 3}, ("unknown field stepz", "did you mean steps?")),
        ({"model": {"image": {"sise": 8}}}, ("unknown field model.image.sise", "did you mean size?")),
        ({"steps": "many"}, ("steps", "'many'")),
        ({"steps": 0}, ("steps", "at least 1")),
        ([1, 2], ("JSON object", "list")),
        (None, ("JSON object",)),
    ],
    ids=str,
)
def test_config_file(job_here: JobHere, tmp_path: Path, change: object, says: tuple[str, ...]):
    file = tmp_path / "config.json"
    file.write_text("{ no json" if change is None else json.dumps(change))
    refused(job_here, "train.py", "--config", file, says=(*says, str(file)), untouched=tmp_path)


@pytest.fixture
def run_copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--batch-size", 32), ("stream.batch_size is 32 now, 64 there",)),
        (("--seed", 1), ("seed is 1 now, 0 there",)),
        (("--model.network.widths", 16, 48), ("model.network.widths",)),
        (("--optim.learning-rate", 0.5), ("optim.learning_rate is 0.5 now",)),
    ],
    ids=lambda value: str(value[0]),
)
def test_run_folder_of_another_configuration(
    job_here: JobHere, run_copy: Path, shards: Path, flags: tuple[object, ...], says: tuple[str, ...]
):
    command = (*TRAIN, "--data", shards, "--run-dir", run_copy, "--steps", 60)
    refused(job_here, *command, *flags, says=("belongs to another run", str(run_copy), *says), untouched=run_copy)


def test_run_folder_of_other_data(job_here: JobHere, run_copy: Path, shards: Path):
    command = (*TRAIN, "--run-dir", run_copy, "--steps", 60)
    some = f"{shards}/shard-00000{{0,1}}.tar"
    refused(job_here, *command, "--data", some, says=("belongs to another run", "data.fingerprint"), untouched=run_copy)


def test_what_may_change_is_accepted(job_here: JobHere, run_copy: Path, shards: Path):
    before = snapshot(run_copy)
    more = ("--steps", 99, "--num-workers", 4, "--num-loaders", 3, "--checkpoint-every-s", 7)
    dry = job_here(*TRAIN, "--data", shards, "--run-dir", run_copy, *more, "--dry-run")
    assert (dry.code, dry.err) == (0, "")
    assert "continues" in dry.out
    assert "4 trainers, 3 loaders" in dry.out
    assert snapshot(run_copy) == before


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def other_digest(file: Path) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), "digest": "0" * 64}))


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize("as_run", [True, False], ids=["run", "checkpoint"])
@pytest.mark.parametrize(
    ("harm", "name"),
    [
        (flip, WEIGHTS),
        (flip, "model.json"),
        (cut, WEIGHTS),
        (Path.unlink, WEIGHTS),
        (Path.unlink, "training/00000.safetensors"),
        (cut, "checkpoint.json"),
        (other_digest, "checkpoint.json"),
        (Path.unlink, "checkpoint.json"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_damaged_checkpoint(
    job_here: JobHere, run_copy: Path, tmp_path: Path, harm: Callable[[Path], None], name: str, as_run: bool
):
    checkpoint = run_copy / "checkpoints" / "step-000000060"
    for other in checkpoint.parent.iterdir():
        if other != checkpoint:
            shutil.rmtree(other)
    harm(checkpoint / name)
    output = tmp_path / "samples"
    refused(
        job_here, "generate.py", "--checkpoint", run_copy if as_run else checkpoint, "--output", output, "--num-samples", 10,
        says=(str(run_copy), "checkpoint"), untouched=output,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--labels", "11"), ("class 11", "0 to 9")),
        (("--labels", "a,b"), ("'a,b'", "separated by commas")),
        (("--sampler-steps", 0), ("sampler_steps", "at least 1")),
        (("--sampler-steps", 100000), ("steps", "100000")),
        (("--eta", 2, "--sampler", "ddim"), ("eta", "2")),
        (("--part-rows", 0), ("part_rows", "at least 1")),
        (("--num-samples", 10**13), ("num_samples", "1000000000000")),
    ],
    ids=str,
)
def test_generation_flags(job_here: JobHere, trained: Path, tmp_path: Path, flags: tuple[object, ...], says: tuple[str, ...]):
    output = tmp_path / "samples"
    command = ("generate.py", "--checkpoint", trained, "--output", output, "--num-samples", 10)
    refused(job_here, *command, *flags, says=says, untouched=output)


def test_number_of_samples_missing(job_here: JobHere, trained: Path, tmp_path: Path):
    output = tmp_path / "samples"
    command = ("generate.py", "--checkpoint", trained, "--output", output)
    refused(job_here, *command, says=("--num-samples is missing",), untouched=output)


@pytest.mark.parametrize("below", ["", "x"])
def test_a_file_where_the_output_should_be(job_here: JobHere, trained: Path, tmp_path: Path, below: str):
    (tmp_path / "samples").write_bytes(b"")
    output = tmp_path / "samples" / below
    command = ("generate.py", "--checkpoint", trained, "--output", output, "--num-samples", 10)
    refused(job_here, *command, says=(str(output), "a file is in the way"), untouched=tmp_path)


@pytest.mark.parametrize("command", [("train.py", "digitz"), ("generate.py", "--seeed", "1"), ("verify.py", "gone")], ids=str)
def test_as_processes(alone: Place, tmp_path: Path, command: tuple[str, ...]):
    place = Place(env={**alone.env, "PYTHONWARNINGS": "default"}, cwd=tmp_path)
    sessions = ray_sessions(alone)
    ended = place.run(*command)
    assert ended.code == 2
    assert ended.error_line().startswith("error: ")
    assert ended.out == ""
    assert list(tmp_path.iterdir()) == []
    assert ray_sessions(alone) == sessions, "Ray was started"


def ray_sessions(place: Place) -> set[Path]:
    """One folder for every Ray that was ever started in the place."""
    return set(Path(place.env["RAY_TMPDIR"]).glob("*/session_2*"))
