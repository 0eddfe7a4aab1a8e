"""origin.json: where the checkpoint of a set was found when its first job started; later jobs go on from there."""

import json
from dataclasses import asdict, dataclass

import xxhash

from pipeline import storage
from pipeline.errors import CorruptDataError, ResumeMismatch

_DIGEST_FIELD = "xxh3_128"
"""Digest of the others: a damaged letter of a path would send the next job elsewhere. Whoever edits the file leaves it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What was asked for and what was found; the samples depend on the checkpoint's digest alone, not on this."""

    given: str
    """The run folder or checkpoint folder that the command named, absolute."""
    checkpoint: str
    """The checkpoint folder that was found there then."""
    conditions: str = ""
    """The file of conditions, or nothing."""
    digest: str = ""
    """The checkpoint's: by it a job that comes back before there is a run.json knows its copy. Nothing in older origins."""

    def write(self, url: str) -> None:
        """Record the origin in a set's folder, unless there is one.

        Raises:
            ResumeMismatch: Another job found another checkpoint in the same place just before.
        """
        content = _fields(self) | {_DIGEST_FIELD: _digest(_fields(self))}
        if storage.put_once(_origin_url(url), (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()):
            return
        there = load_origin(url)
        if there is not None and there.given == self.given and there.checkpoint != self.checkpoint:
            raise ResumeMismatch(
                f"another job has just begun with {there.checkpoint}, this one found {self.checkpoint}; start it again ({url})"
            )


def load_origin(url: str) -> Origin | None:
    """The origin recorded in a set's folder; None if there is none.

    Raises:
        CorruptDataError: It is damaged.
    """
    origin_url = _origin_url(url)
    if not storage.exists(origin_url):
        return None
    try:
        read = json.loads(storage.read_bytes(origin_url))
    except (ValueError, RecursionError) as error:
        raise _damaged(f"no JSON ({error})", origin_url) from error
    digest = read.pop(_DIGEST_FIELD, None) if isinstance(read, dict) else None
    if not isinstance(read, dict) or not {"given", "checkpoint"} <= read.keys() <= set(Origin.__slots__):
        raise _damaged(f"the fields {', '.join(map(repr, read))}" if isinstance(read, dict) else repr(read), origin_url)
    if not all(isinstance(value, str) for value in read.values()):
        raise _damaged(str(read), origin_url)
    origin = Origin(**read)
    if digest not in (None, _digest(_fields(origin))):
        raise _damaged(f"{read} and the digest {digest}", origin_url)
    return origin


def _fields(origin: Origin) -> dict[str, str]:
    """What is written: a digest that is not known is left out, as in origins that were written before there was one."""
    return {name: value for name, value in asdict(origin).items() if value or name != "digest"}


def _digest(fields: dict[str, str]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(fields, sort_keys=True).encode())


def _damaged(got: str, origin_url: str) -> CorruptDataError:
    expected = "expected text in the fields 'given', 'checkpoint' and 'conditions', and their digest"
    mend = "verify.py --repair moves it to quarantine/, and the next generate job looks for the checkpoint anew"
    return CorruptDataError(f"got {got}, {expected}; {mend}", origin_url)


def _origin_url(url: str) -> str:
    return storage.join(url, "origin.json")
