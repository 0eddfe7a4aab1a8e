"""Ray clusters of several nodes on one machine, and the processes in them."""

import os
import signal
from pathlib import Path

import ray
from ray import ObjectRef
from ray.actor import ActorHandle


def actor_pids(title: str) -> list[int]:
    """Living processes of an actor class on this machine that belong to this test run's Ray."""
    session = ray._private.worker._global_node.get_session_dir_path()  # type: ignore[union-attr]
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            environment = (folder / "environ").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if command.startswith(f"ray::{title}") and Path(session).name in environment + _log_files(folder):
            found.append(int(folder.name))
    return found


def asked_pids(actors: list[ActorHandle]) -> list[ObjectRef]:
    """The actors' answers to what their process is: of exactly these, where others of their class may be alive."""
    return [actor.__ray_call__.remote(lambda _: os.getpid()) for actor in actors]


def _log_files(folder: Path) -> str:
    """Where a worker's output goes: in its session's folder."""
    try:
        return str((folder / "fd" / "1").readlink())
    except OSError:
        return ""


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def rss_bytes(pid: int) -> tuple[int, int]:
    """(memory of its own, memory shared with others) of a process, in bytes."""
    fields = dict(line.split(":", 1) for line in (Path("/proc") / str(pid) / "status").read_text().splitlines())
    own, shared = (int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))
    return own, shared
