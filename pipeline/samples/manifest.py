"""The manifest: what readers follow. Its bytes are a function of the run and its committed parts, of nothing else."""

import json
from dataclasses import dataclass

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError, SwissrollError
from pipeline.samples.ledger import PartRecord, gaps
from pipeline.samples.schema import canonical_json

_KIND = "swissroll-samples"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A complete sample set: rows 0..num_samples-1, and the parts that hold them."""

    num_samples: int
    """Rows in all."""
    run_sha256: str
    """Digest of run.json."""
    parts: tuple[PartRecord, ...]
    """The parts in order; together exactly rows 0..num_samples-1."""

    def __post_init__(self) -> None:
        if missing := gaps(self.num_samples, self.parts, "manifest.json"):
            raise ConfigError(f"Manifest.parts: got a gap of {missing[0].rows} rows at {missing[0].first}, expected none")

    @property
    def size_bytes(self) -> int:
        """Size of all parts."""
        return sum(part.size_bytes for part in self.parts)

    def to_bytes(self) -> bytes:
        """Canonical JSON and a newline."""
        return (
            canonical_json(
                {
                    "kind": _KIND,
                    "version": _VERSION,
                    "num_samples": self.num_samples,
                    "run_sha256": self.run_sha256,
                    "parts": [
                        {
                            "path": f"data/{part.name}",
                            "first": part.first,
                            "rows": part.rows,
                            "size_bytes": part.size_bytes,
                            "xxh3_128": part.xxh3_128,
                        }
                        for part in self.parts
                    ],
                }
            )
            + b"\n"
        )

    @classmethod
    def from_bytes(cls, data: bytes, uri: str) -> "Manifest":
        """The manifest whose `to_bytes` is exactly `data`.

        Raises:
            CorruptDataError: There is none.
        """
        try:
            read = json.loads(data)
            parts = (
                PartRecord(
                    first=part["first"],
                    rows=part["rows"],
                    size_bytes=part["size_bytes"],
                    xxh3_128=part["xxh3_128"],
                    suffix=part["path"].rpartition(".")[2],
                )
                for part in read["parts"]
            )
            manifest = cls(num_samples=read["num_samples"], run_sha256=read["run_sha256"], parts=tuple(parts))
            again = manifest.to_bytes()
        except (ValueError, KeyError, TypeError, AttributeError, SwissrollError, RecursionError) as error:
            raise CorruptDataError(f"got no manifest of a sample set: {type(error).__name__}: {error}", uri) from error
        if again != data:
            raise CorruptDataError("got a manifest that is not what its own content makes, expected canonical JSON", uri)
        return manifest


def manifest_url(url: str) -> str:
    """Where the manifest of the set in folder `url` is."""
    return storage.join(url, "manifest.json")


def load_manifest(url: str) -> Manifest:
    """The published manifest of a sample set.

    Args:
        url: The set's folder.

    Raises:
        PermanentStorageError: There is none: the set is unfinished, or not there.
        CorruptDataError: It is damaged.
    """
    return Manifest.from_bytes(storage.read_bytes(manifest_url(url)), manifest_url(url))
