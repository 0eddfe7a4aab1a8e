"""A set of generated samples on storage: Parquet parts, the ledger of commits, the manifest, and the proof that all is there.

One sample set is one folder:

    run.json                        the run's spec: written once, compared on resume
    origin.json                     where the checkpoint was found when the first job started
    goals/{num_samples}             empty objects: how many rows were asked for; the largest counts
    data/part-{first}.parquet    the rows from `first` on (or .tar, with data/index.json); written once, sealed
    commits/{first}-{last}.{bytes}.{xxh3_128}.{parquet|tar}    empty objects: one listing is the whole ledger, no part is read
    manifest.json                   published when rows 0..N-1 are committed; what readers follow
    README.md, contact-sheet.png    the dataset card
    quarantine/                     what was taken out of the set or written over, under its name

Whoever makes a part, and however often, its bytes and its name are the same; nothing that is committed changes.
"""

from pipeline.samples.card import dataset_card
from pipeline.samples.ledger import PartRange, PartRecord, PartSuffix, commit_name, open_ranges, parse_commit_name, part_digest
from pipeline.samples.manifest import Manifest, load_manifest
from pipeline.samples.origin import Origin, load_origin
from pipeline.samples.part import PartRows, encode_part
from pipeline.samples.reading import Sample, read_samples
from pipeline.samples.sample_set import SampleSet
from pipeline.samples.schema import canonical_json, parquet_schema
from pipeline.samples.verify import VerifyReport, verify

__all__ = [
    "Manifest",
    "Origin",
    "PartRange",
    "PartRecord",
    "PartRows",
    "PartSuffix",
    "Sample",
    "SampleSet",
    "VerifyReport",
    "canonical_json",
    "commit_name",
    "dataset_card",
    "encode_part",
    "load_manifest",
    "load_origin",
    "open_ranges",
    "parquet_schema",
    "parse_commit_name",
    "part_digest",
    "read_samples",
    "verify",
]
