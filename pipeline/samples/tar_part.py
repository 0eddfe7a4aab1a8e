"""A part as a WebDataset shard: `{index}.png`, `{index}.cls` and `{index}.json` for every sample, as training reads them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence

import pyarrow as pa
import xxhash

from pipeline.errors import CorruptDataError
from pipeline.samples.ledger import PartRecord, commit_name
from pipeline.samples.schema import canonical_json, parquet_schema
from pipeline.samples.seal import OPEN_SEAL, seal

PROVENANCE_SHA256_KEY = b"swissroll.sha256"
_NAME_DIGITS = 12
SHARD_INDEX_NAME = "index.json"
"""Name of the index in the folder of shards, where training looks for it."""
INDEX_NAMES = frozenset((SHARD_INDEX_NAME, "index.offsets.npy", "index.xxh3.npy", "index.versions.json"))
"""Names of what jobs/index.py may put beside the shards."""


def provenance_sha256(provenance: Mapping[str, object]) -> str:
    """What every sample of a shard says about its origin: the digest of the run's spec as canonical JSON."""
    return hashlib.sha256(canonical_json(provenance)).hexdigest()


def encode_tar(
    first: int,
    images: Sequence[bytes],
    labels: Sequence[int] | None,
    keys: Sequence[str] | None,
    extension: str,
    provenance: Mapping[str, object],
) -> memoryview:
    """A sealed tar of samples first, first + 1, ...; no clock and no user name in it; arguments as `PartRows` checked them."""
    run = provenance_sha256(provenance)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        last = first + len(images) - 1
        for row, image in enumerate(images):
            stem = f"{first + row:0{_NAME_DIGITS}d}"
            told: dict[str, object] = {"index": first + row, "run": run}
            if labels is not None:
                told["label"] = int(labels[row])
            if keys is not None:
                told["key"] = keys[row]
            _add(tar, f"{stem}.{extension}", image)
            if labels is not None:
                _add(tar, f"{stem}.cls", str(int(labels[row])).encode())
            text = canonical_json(told)
            if first + row == last:
                while -len(text) % tarfile.BLOCKSIZE < len(OPEN_SEAL):
                    text += b" "  # room for the seal
            _add(tar, f"{stem}.json", text)
        end = tar.offset
    file = buffer.getbuffer()
    file[end - len(OPEN_SEAL) : end] = OPEN_SEAL
    seal(file, "tar")
    return file


def decode_tar(data: bytes | memoryview, uri: str) -> pa.Table:
    """The samples of a shard in the columns of a Parquet part; the metadata hold the digest of the run's spec.

    Raises:
        CorruptDataError: The bytes are no shard that `encode_tar` made.
    """
    rows: list[dict[str, object]] = []
    runs: set[str] = set()
    for stem, fields in _samples(data, uri):
        try:
            told = json.loads(fields.pop("json"))
            label, key, run = told.get("label"), told.get("key"), told["run"]
            as_told = None if "cls" not in fields else int(fields.pop("cls"))
            ((extension, image),) = fields.items()
            if told["index"] != int(stem) or label != as_told:
                raise ValueError(f"json says {told}, the other members index {stem} and class {as_told}")
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise CorruptDataError(f"got no sample with image, cls and json at {stem}: {error}", uri) from error
        rows.append(
            {"index": told["index"], "image": {"bytes": image, "path": f"{stem}.{extension}"}, "label": label, "key": key}
        )
        runs.add(str(run))
    if len(runs) != 1:
        raise CorruptDataError(f"got samples of {len(runs)} runs, expected those of one", uri)
    keyed = all(row["key"] is not None for row in rows)
    schema = parquet_schema({}, keyed=keyed).with_metadata({PROVENANCE_SHA256_KEY: runs.pop().encode()})
    try:
        return pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowException, OverflowError) as error:
        raise CorruptDataError(f"got samples of wrong types: {error}", uri) from error


def samples_in_tar(data: bytes | memoryview, uri: str) -> int:
    """Number of samples in a shard.

    Raises:
        CorruptDataError: The bytes are no tar.
    """
    return len(_samples(data, uri))


def index_json(shards: Sequence[PartRecord]) -> bytes:
    """The index of the shards in the format of webdataset's `wids`; a function of the shards alone, its name included.

    Args:
        shards: The parts, in order.
    """
    name = xxhash.xxh3_64_hexdigest("\n".join(map(commit_name, shards)).encode())
    listed = [{"url": shard.name, "nsamples": shard.rows, "filesize": shard.size_bytes} for shard in shards]
    index = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": f"samples-{name}", "shardlist": listed}
    return json.dumps(index, indent=1).encode() + b"\n"


def is_index_of(data: bytes, shards: Sequence[PartRecord]) -> bool:
    """Whether these bytes are an index of just these shards: ours, or the one that jobs/index.py put in its place.

    Args:
        data: The index.
        shards: The parts, in order.
    """
    if data == index_json(shards):
        return True
    try:
        index = json.loads(data)
        listed = [(shard["url"], shard["nsamples"], shard["filesize"]) for shard in index["shardlist"]]
        return "offsets" in index and listed == [(shard.name, shard.rows, shard.size_bytes) for shard in shards]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o444
    tar.addfile(member, io.BytesIO(data))


def _samples(data: bytes | memoryview, uri: str) -> list[tuple[str, dict[str, bytes]]]:
    found: dict[str, dict[str, bytes]] = {}
    end = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                stem, _, field = member.name.partition(".")
                body = tar.extractfile(member)
                if body is None or len(stem) != _NAME_DIGITS or not (stem.isascii() and stem.isdigit()):
                    raise CorruptDataError(f"got the member {member.name!r}, expected <12 digits>.<field>", uri, member.offset)
                found.setdefault(stem, {})[field] = body.read()
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    except (tarfile.TarError, OSError, EOFError) as error:
        raise CorruptDataError(f"got no readable tar: {' '.join(str(error).split())}", uri) from error
    if not found:
        raise CorruptDataError("got a tar without samples", uri)
    # tarfile takes a damaged header for the end, and says nothing of the members after it.
    after = bytes(data[end:])
    if len(after) < 2 * tarfile.BLOCKSIZE or after.strip(b"\0"):
        raise CorruptDataError("got other bytes than zeros behind the last member, expected the end of the archive", uri, end)
    return list(found.items())
