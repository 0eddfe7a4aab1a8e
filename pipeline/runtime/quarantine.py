"""The one actor that lists a run's damaged samples, whichever loader finds them."""

import logging
import time
import uuid
from dataclasses import dataclass
from typing import cast

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline import storage
from pipeline.errors import ConfigError, SwissrollError
from pipeline.runtime.asking import STORAGE_TIMEOUT_S, asked
from pipeline.runtime.hub import HubAddress
from pipeline.runtime.session import NAMESPACE
from pipeline.stream import CorruptSample, Quarantine
from pipeline.telemetry import CORRUPT_MEMBERS

LOOK_EVERY_S = 2.0
"""How often a consumer of its own asks what was listed."""
_log = logging.getLogger(__name__)


class QuarantineKeeper:
    """Holds a `Quarantine` and keeps the count of its entries in the metrics.

    Args:
        url: The file of the list.
        allowed: Samples that may be listed.
        hub: Where the count goes, and a line for each sample; None leaves both to whoever asks.
        fence: Tells whether another job has taken the run over; None where that cannot be.
    """

    def __init__(self, url: str, allowed: int, hub: HubAddress | None, fence: storage.Fence | None) -> None:
        self._given = url, allowed
        self._fence = fence
        self._hub = None if hub is None else hub.connect()
        self._quarantine: Quarantine | None = None
        self._newest = ""

    def open(self) -> int:
        """Reads what earlier jobs of the run listed, and returns how many samples that is.

        Raises:
            CorruptDataError: The file is no such list.
            StorageError: It could not be read.
        """
        self._quarantine = self._quarantine or Quarantine(*self._given)
        self._count()
        return len(self._quarantine)

    def add(self, sample: CorruptSample) -> None:
        """Lists a sample; when it returns, the sample is on storage.

        Raises:
            CommitConflict: Another job took the run over; the list is its own.
            CorruptDataError: There are more than allowed.
            StorageError: The list could not be written.
        """
        if self._fence is not None:
            self._fence.check()
        self.open()
        quarantine = cast(Quarantine, self._quarantine)
        try:
            if quarantine.add(sample):
                line = f"replaced sample {sample.key!r}: {sample.reason} ({sample.uri} at byte {sample.offset})"
                self._newest = line
                if self._hub is not None:
                    self._hub.say.remote(f"warning: {line}")
        finally:
            self._count()

    def listed(self) -> tuple[int, str]:
        """Returns how many samples are listed, and a line about the one that was added last; empty if none was."""
        return len(self._quarantine or ()), self._newest

    def _count(self) -> None:
        if self._hub is not None and self._quarantine is not None:
            self._hub.commit.remote(CORRUPT_MEMBERS.name, len(self._quarantine))


@dataclass(frozen=True, slots=True)
class QuarantineAddress:
    """How loaders find the keeper, by name for the reason that `HubAddress` gives."""

    name: str
    """Name of the actor, unique to the job."""

    def add(self, sample: CorruptSample) -> None:
        """Lists a sample; when it returns, the sample is on storage.

        Raises:
            CommitConflict: Another job took the run over.
            CorruptDataError: There are more than allowed.
            StorageError: The list could not be written.
            NoAnswer: The keeper is stuck.
        """
        keeper = ray.get_actor(self.name, namespace=NAMESPACE)
        try:
            asked(keeper.add.remote(sample), "the keeper of the quarantine list", STORAGE_TIMEOUT_S)
        except RayTaskError as error:
            raise error.cause from error


def start_quarantine(
    url: str, allowed: int, hub: HubAddress | None = None, fence: storage.Fence | None = None
) -> tuple[ActorHandle, QuarantineAddress]:
    """Starts the keeper on the driver's node; it lives as long as the handle is held.

    Args:
        url: The file of the list.
        allowed: Samples that may be listed.
        hub: Where the count goes; None counts nothing.
        fence: The lease on the run's folder, looked at before the list is written.

    Raises:
        CorruptDataError: There is a file, and it is no such list.
        StorageError: The file could not be read.
        NoAnswer: The keeper is stuck.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    address = QuarantineAddress(f"quarantine-{uuid.uuid4().hex}")
    options = ray.remote(QuarantineKeeper).options(name=address.name, namespace=NAMESPACE, num_cpus=0, scheduling_strategy=here)
    keeper = cast(ActorHandle, options.remote(url, allowed, hub, fence))
    try:
        asked(keeper.open.remote(), "the keeper of the quarantine list", STORAGE_TIMEOUT_S)
    except RayTaskError as error:
        # In the user's process. The text of an error of ours is complete without the keeper's traceback.
        raise error.cause from (None if isinstance(error.cause, SwissrollError) else error)
    return keeper, address


class QuarantineWatch:
    """Logs in a consumer's process what its keeper lists, without waiting for it.

    Args:
        keeper: The actor; lives as long as this.
        url: Its file.
    """

    def __init__(self, keeper: ActorHandle, url: str) -> None:
        self._keeper, self._url = keeper, url
        self._asked: ObjectRef | None = None
        self._asked_s = 0.0
        self._told = 0

    def look(self) -> None:
        """Asks from time to time, and logs what has come since."""
        if self._asked is None:
            if time.monotonic() - self._asked_s > LOOK_EVERY_S:
                self._asked, self._asked_s = self._keeper.listed.remote(), time.monotonic()
        elif ray.wait([self._asked], timeout=0)[0]:
            self._tell(self._asked)
            self._asked = None

    def last_look(self) -> None:
        """Logs what was listed last; waits a moment for the answer."""
        self._tell(self._keeper.listed.remote())

    def _tell(self, answer: ObjectRef) -> None:
        try:
            count, newest = cast(tuple[int, str], ray.get(answer, timeout=LOOK_EVERY_S + 1))
        except RayError:  # the list does not depend on this: loaders wait for the keeper, and fail without it
            return
        if count > self._told and newest:
            _log.warning("%d samples that cannot be decoded are listed in %s; %s", count, self._url, newest)
        self._told = count


def watched_quarantine(folder: str, name: str, allowed: int) -> tuple[QuarantineWatch, QuarantineAddress]:
    """Starts the keeper of a consumer's own list.

    Args:
        folder: Where the list is, on the consumer's node or a store.
        name: The list's.
        allowed: Samples that may be listed.

    Raises:
        ConfigError: Nothing can be written there.
        SwissrollError: As `start_quarantine`.
    """
    url = storage.join(folder, name)
    if (trouble := storage.put_trouble(url)) is not None:
        raise ConfigError(f"quarantine: got {folder}: {trouble}")
    keeper, address = start_quarantine(url, allowed)
    return QuarantineWatch(keeper, url), address
