"""Mending run.json: the parts whose bytes are as committed tell which spec they were made from."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError, PermissionDenied
from pipeline.samples.card import CARD_NAME
from pipeline.samples.commits import readable_commits
from pipeline.samples.manifest import load_manifest
from pipeline.samples.quarantine import moved_aside
from pipeline.samples.reading import read_part
from pipeline.samples.run_spec import parse_spec, run_url, spec_bytes
from pipeline.samples.schema import PROVENANCE_KEY
from pipeline.samples.tar_part import PROVENANCE_SHA256_KEY, provenance_sha256

_SPEC_IN_CARD = re.compile("```json\n(.*?)\n```", re.DOTALL)


class _Told(NamedTuple):
    """What a part says about its run."""

    sha256: str
    """`provenance_sha256` of the spec."""
    content: bytes | None
    """run.json as it should be; None from a shard, which has the digest alone."""


def mend_run_spec(url: str) -> list[str]:
    """Puts run.json right where it cannot be read, or no undamaged part agrees with it; returns what was done, in lines.

    It is restored from the metadata of a part, for shards from the dataset card; one that was readable goes to `quarantine/`.

    Raises:
        CorruptDataError: It is damaged, and nothing tells what it was.
        StorageError: The store could not be read or written.
    """
    there = storage.read_bytes(run_url(url)) if storage.exists(run_url(url)) else None
    stored = _spec_sha256(url, there)
    told: list[_Told] = []
    for one in _told_by_parts(url):
        if one.sha256 == stored:
            return []
        if one not in told:
            told.append(one)
    listed = _listed_sha256(url)
    if stored is not None and there is not None and not told:
        if listed in (None, hashlib.sha256(there).hexdigest()):
            return []
        raise CorruptDataError("got a run.json other than the manifest's, and no undamaged part that tells which", run_url(url))
    contents = [one.content for one in told if one.content is not None]
    card = _content_in_card(url)
    if card is not None and (
        hashlib.sha256(card).hexdigest() == listed or _spec_sha256(url, card) in [one.sha256 for one in told]
    ):
        contents.append(card)
    if not contents:
        raise CorruptDataError("got a damaged run.json, and no undamaged part or card that tells what it was", run_url(url))
    # Of parts of two runs, one of a straggler perhaps, those that the manifest is about are right.
    content = next((one for one in contents if hashlib.sha256(one).hexdigest() == listed), contents[0])
    done = [] if stored is None else [moved_aside(url, "run.json")]
    storage.put_replace(run_url(url), content)
    return [*done, f"run.json: restored from {'the dataset card' if content == card else 'the metadata of a part'}"]


def _told_by_parts(url: str) -> Iterator[_Told]:
    """What the parts say whose bytes are as committed, in order."""
    for record in readable_commits(url):
        try:
            metadata = read_part(url, record).schema.metadata or {}
            if record.suffix == "tar":
                yield _Told(metadata[PROVENANCE_SHA256_KEY].decode(), None)
            else:
                spec = json.loads(metadata[PROVENANCE_KEY])
                yield _Told(provenance_sha256(spec), spec_bytes(spec))
        except (ConfigError, CorruptDataError, PermanentStorageError, KeyError, ValueError):
            continue


def _spec_sha256(url: str, content: bytes | None) -> str | None:
    """`provenance_sha256` of a run.json; None where it cannot be read."""
    try:
        return None if content is None else provenance_sha256(parse_spec(content, run_url(url)))
    except CorruptDataError:
        return None


def _listed_sha256(url: str) -> str | None:
    """The digest of run.json in the manifest."""
    try:
        return load_manifest(url).run_sha256
    except PermissionDenied:
        raise  # it may well be sound
    except (CorruptDataError, PermanentStorageError):
        return None


def _content_in_card(url: str) -> bytes | None:
    """run.json as the dataset card shows it."""
    try:
        shown = _SPEC_IN_CARD.search(storage.read_bytes(storage.join(url, CARD_NAME)).decode())
        return None if shown is None else spec_bytes(json.loads(shown[1]))
    except (PermanentStorageError, ConfigError, ValueError, TypeError, RecursionError):
        return None
