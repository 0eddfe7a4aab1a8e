"""Proving a sample set with its copy of the checkpoint, and mending it: what is made again must be what was committed."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError, PermissionDenied, ResumeMismatch
from pipeline.generation.kept_checkpoint import check_kept, checkpoint_is_gone, checkpoint_places, mend_kept
from pipeline.generation.making import PartMaker
from pipeline.generation.named_sources import digest_in_run, same_checkpoint, same_conditions
from pipeline.generation.spec import GenerationSpec
from pipeline.samples import PartRange, PartRecord, SampleSet, VerifyReport, load_origin, part_digest
from pipeline.samples.for_people import mend_for_people
from pipeline.samples.mend_run import mend_run_spec
from pipeline.samples.mending import mend_goals, mend_ledger, mend_origin, mend_published
from pipeline.samples.obstacles import mend_obstacles


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was done."""

    done: tuple[str, ...]
    """Each in one line."""
    failed: tuple[str, ...]
    """What could not be mended and why, each in one line."""


class _Named(NamedTuple):
    """What the user named, as it moved; empty where nothing was named."""

    checkpoint: str
    conditions: str


def with_kept_checkpoint(report: VerifyReport) -> VerifyReport:
    """Returns a report with what is wrong with the set's copy of its checkpoint; unchanged where run.json does not say which.

    Raises:
        PermissionDenied: The copy may not be read.
        TransientStorageError: The store did not answer.
    """
    digest = digest_in_run(report.url, "checkpoint_digest")
    problem = digest and check_kept(report.url, digest)
    return replace(report, problems=(*report.problems, problem)) if problem else report


def repair(
    report: VerifyReport,
    progress: Callable[[int, int], None] | None = None,
    fence: storage.Fence | None = None,
    *,
    checkpoint: str = "",
    conditions: str = "",
) -> Repair:
    """Mends what `verify` found: run.json, the ledger and what readers follow from each other, parts by making them again, and
    the copy of the checkpoint from the original.

    A part is put in place only if its bytes are those that were committed. Files that belong to no part are moved aside to
    `quarantine/`, never deleted. Works in this process, without Ray.

    Args:
        report: From `verify`; nobody else may write to the set meanwhile.
        progress: Called after each part with the parts made again so far and all that are broken.
        fence: The lease on the set's folder, where it has one, looked at before anything is put or moved.
        checkpoint: Where the set's checkpoint is now, or a run (RUN or RUN@latest) whose newest it is; empty: as it was.
        conditions: Where the set's file of conditions is now; empty: where it was found.

    Raises:
        CommitConflict: Another job took the folder over meanwhile.
        ConfigError: The checkpoint or the conditions that the set was made from cannot be found, or what is named is another.
        CorruptDataError: run.json is damaged, and nothing tells what it was.
        StorageError: The store could not be read or written.
    """
    check: Callable[[], None] = (lambda: None) if fence is None else fence.check
    check()
    done = mend_obstacles(report.url, check)
    done += mend_run_spec(report.url)
    # After run.json, which says which they are, and before all that a command with another one would have mended in vain.
    named = _Named(same_checkpoint(report.url, checkpoint), same_conditions(report.url, conditions))
    samples = SampleSet(report.url)
    done += mend_origin(report.url)
    done += mend_goals(report.url, check)
    # A job that took over may have put a part by now that is not yet committed: no stray file to be moved.
    done += mend_ledger(report.url, check)
    broken = [record for record in samples.committed() if _is_broken(samples, record)]
    check()
    mended, not_mended = _mend_kept(samples, named.checkpoint)
    done += mended
    failed: list[str] = []
    if broken:
        maker = _maker(samples, named)
        for number, record in enumerate(broken, 1):
            problem = _make_again(samples, maker, record, check)
            where = f"data/{record.name}"
            if problem is None:
                done.append(f"{where}: made again, with the digest that was committed")
            else:
                failed.append(f"{where}: {problem}")
            if progress is not None:
                progress(number, len(broken))
    if not failed:
        check()
        try:
            done += mend_published(report.url, was_published=report.finished)
        except ResumeMismatch as error:  # with the manifest it is lost which rows were published, and which begun later
            failed.append(f"manifest.json: {error}; the job that makes these rows publishes the set again")
    check()
    done += mend_for_people(report.url)
    return Repair(done=tuple(done), failed=(*failed, *not_mended))


def _mend_kept(samples: SampleSet, named: str) -> tuple[list[str], list[str]]:
    origin, digest = load_origin(samples.url), digest_in_run(samples.url, "checkpoint_digest")
    found = named or ("" if origin is None else origin.checkpoint)
    return mend_kept(samples.url, found, digest) if digest else ([], [])


def _is_broken(samples: SampleSet, record: PartRecord) -> bool:
    try:
        data = storage.read_bytes(storage.join(samples.data_url, record.name))
    except PermissionDenied:
        raise  # it may well be sound
    except PermanentStorageError:
        return True
    return part_digest(data) != record.xxh3_128


def _maker(samples: SampleSet, named: _Named) -> PartMaker:
    spec = samples.spec()
    try:
        known = TypeAdapter(GenerationSpec).validate_json(json.dumps(spec["generation"]), strict=True)
    except (ValidationError, KeyError) as error:
        raise ConfigError(f"got a specification that this version does not know: {error} ({samples.url}/run.json)") from error
    origin = load_origin(samples.url)
    found, conditions = ("", "") if origin is None else (origin.checkpoint, origin.conditions)
    found, conditions = named.checkpoint or found, named.conditions or conditions
    places = checkpoint_places(samples.url, found, known.checkpoint_digest)
    wants_conditions = bool(known.conditions_sha256)
    if not found and not places:
        raise ConfigError(
            "got no origin.json that says where the checkpoint is; jobs/generate.py writes it, or say it with --checkpoint "
            f"({samples.url})"
        )
    if not places:
        raise checkpoint_is_gone(samples.url, found)
    if wants_conditions and not conditions:
        raise ConfigError(f"got no origin.json that says where the conditions are; name them with --conditions ({samples.url})")
    if wants_conditions and not storage.exists(conditions):
        raise ConfigError(
            f"the set's conditions are needed to repair it, and {conditions} is gone; name them with --conditions"
        )
    for place in places:
        try:
            return PartMaker(place, known, spec, conditions)
        except (CorruptDataError, PermanentStorageError) as error:
            if place == places[-1]:
                raise ConfigError(f"what the set was made from is needed to repair it: {error}") from error
    raise AssertionError  # there is a last one


def _make_again(samples: SampleSet, maker: PartMaker, record: PartRecord, check: Callable[[], None]) -> str | None:
    """What is wrong with the part that was made again; None if it was right and is in place."""
    part = PartRange(record.first, record.rows)
    data = maker.encode(part, maker.sample(part))
    digest = part_digest(data)
    if digest != record.xxh3_128:
        return f"made again it has XXH3-128 {digest}, expected {record.xxh3_128}: another kind of machine, or other versions"
    check()
    storage.put_replace(storage.join(samples.data_url, record.name), data)
    return None
