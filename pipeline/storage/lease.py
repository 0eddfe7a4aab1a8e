"""One job at a time in a folder of an object store: a lease that expires when its holder is silent.

    lease/{token}.holder      created once: who has the lease; the highest token counts
    lease/{token}.beat        replaced every few seconds while the holder lives
    lease/{token}.released    created when the holder ends

Nobody's clock is compared with anybody else's: a newcomer watches the beat for as long as the lease lasts, by its own
monotonic clock, and takes the next token if nothing moved. A holder that was merely asleep finds the next token there when
it wakes up (`Fence.check`), and ends.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CommitConflict, ConfigError, StorageError, TransientStorageError
from pipeline.storage.objects import exists, list_objects, put_once, put_replace, read_bytes, remove_tree
from pipeline.storage.urls import join

_FOLDER = "lease"
_MOST_OUTAGES = 5
"""Times that a newcomer begins its wait anew, as the store did not answer in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """How often a holder shows that it lives, and how long a silent one is waited for."""

    beat_s: float = 5.0
    """Seconds between beats."""
    expires_s: float = 30.0
    """Seconds of silence after which the lease may be taken over."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Proof of a lease that can be sent to workers."""

    folder_url: str
    """The folder that is leased."""
    token: int
    """The lease's number; the next holder has the next one."""

    def check(self) -> None:
        """Nothing while nobody has taken the lease over; one request.

        The highest token counts, and not whether the next one is there: of holders before the last one nothing is kept.

        Raises:
            CommitConflict: Somebody has, or the folder is not the one that was leased: it was removed.
            StorageError: The store could not be asked.
        """
        highest = _highest(self.folder_url)
        if highest > self.token:
            raise CommitConflict("another job took over, this one had been silent for too long", self.folder_url)
        if highest < self.token:
            raise CommitConflict("the folder was removed while this job was at work in it", self.folder_url)


@contextlib.contextmanager
def leased(folder_url: str, timing: LeaseTiming | None = None) -> Iterator[Fence]:
    """Holds the lease of a folder for the length of the block; needs a store on which `put_once` holds.

    Raises:
        ConfigError: Another job has it.
        StorageError: The store could not be asked.
    """
    timing = timing or LeaseTiming()
    fence = Fence(folder_url, _acquired(folder_url, timing))
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(fence, timing, done), name="lease", daemon=True)
    beating.start()
    try:
        yield fence
    finally:
        done.set()
        beating.join(timing.expires_s)
        with contextlib.suppress(StorageError):  # it expires by itself
            put_once(_url(folder_url, fence.token, "released"), b"")


def _acquired(folder_url: str, timing: LeaseTiming) -> int:
    token = _highest(folder_url)
    if token:
        _wait_until_free(folder_url, token, timing)
    mine = json.dumps({**_this_process(), "nonce": secrets.token_hex(16)}).encode()
    url = _holder_url(folder_url, token + 1)
    # A lost answer makes "created" look like "taken": the content tells whose it is.
    if not put_once(url, mine) and read_bytes(url) != mine:
        raise _at_work(folder_url, token + 1)
    if (highest := _highest(folder_url)) != token + 1:
        raise _at_work(folder_url, highest)
    for found in list_objects(join(folder_url, _FOLDER)):
        if (number := _token_of(found.url)) is not None and number < token:
            remove_tree(found.url)
    return token + 1


def _wait_until_free(folder_url: str, token: int, timing: LeaseTiming) -> None:
    """Returns once the lease is released or expired."""
    if exists(_url(folder_url, token, "released")) or _is_dead_here(_holder(folder_url, token)):
        return
    first = _beat_of(folder_url, token)
    begin, outages = time.monotonic(), 0
    while time.monotonic() - begin < timing.expires_s:
        time.sleep(timing.beat_s / 2)
        asked = time.monotonic()
        if exists(_url(folder_url, token, "released")):
            return
        if _beat_of(folder_url, token) != first or exists(_holder_url(folder_url, token + 1)):
            raise _at_work(folder_url, token)
        if time.monotonic() - asked > timing.expires_s / 2:
            # The store did not answer: nor could the holder be heard, who may wait to ask again.
            begin, outages = time.monotonic(), outages + 1
            if outages == _MOST_OUTAGES:
                problem = f"the store was silent {outages} times while it was asked whether another job is at work"
                raise TransientStorageError(f"{problem}, expected answers within {timing.expires_s / 2:.0f} s", folder_url)


def _beat(fence: Fence, timing: LeaseTiming, done: threading.Event) -> None:
    count = 0
    while not done.wait(timing.beat_s if count else 0):
        count += 1
        with contextlib.suppress(StorageError):  # silence is what the lease is made for; whoever writes checks the fence
            put_replace(_url(fence.folder_url, fence.token, "beat"), str(count).encode())


def _beat_of(folder_url: str, token: int) -> bytes:
    url = _url(folder_url, token, "beat")
    return read_bytes(url) if exists(url) else b""


def _highest(folder_url: str) -> int:
    """The token of the present or last holder; 0 where there was none."""
    found = list_objects(join(folder_url, _FOLDER))
    return max((_token_of(one.url) or 0 for one in found if one.url.endswith(".holder")), default=0)


def _token_of(url: str) -> int | None:
    stem = url.rpartition("/")[2].partition(".")[0]
    return int(stem) if stem.isascii() and stem.isdigit() else None


def _holder(folder_url: str, token: int) -> dict[str, object]:
    try:
        found = json.loads(read_bytes(_holder_url(folder_url, token)))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _at_work(folder_url: str, token: int) -> ConfigError:
    holder = _holder(folder_url, token)
    who = f"{holder.get('host', 'unknown host')}, process {holder.get('pid', 'unknown')}"
    return ConfigError(f"another job is at work in {folder_url} ({who}); wait for it or stop it")


def _this_process() -> dict[str, object]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _start_of(os.getpid()), "machine": _machine()}


def _is_dead_here(holder: dict[str, object]) -> bool:
    """Whether the holder ran on this very machine, and does not any more: no need to wait then."""
    pid = holder.get("pid")
    return holder.get("machine") == _machine() and isinstance(pid, int) and _start_of(pid) != holder.get("started")


def _machine() -> str:
    """This start of this machine, and the space in which its process numbers mean something (containers have their own)."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    if not boot.exists():
        return secrets.token_hex(16)  # equal to nothing: the lease is waited for
    return f"{boot.read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"


def _start_of(pid: int) -> str | None:
    """When a process began, in the kernel's count, so that a number used again is not taken for the old process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _holder_url(folder_url: str, token: int) -> str:
    return _url(folder_url, token, "holder")


def _url(folder_url: str, token: int, what: str) -> str:
    return join(folder_url, _FOLDER, f"{token:012d}.{what}")
