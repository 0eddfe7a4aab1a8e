"""Data sets as WebDataset shards: naming them, indexing them, packing them, and reading samples and pixels out of them.

Shards are plain tars, read as they are. `open_data` turns what a user typed into a `ShardIndex`; `read_samples` fetches any
run of consecutive samples as one byte range; `decode_image` and `decode_label` make pixels and classes of their fields.
`open_source` and `pack` go the other way. Inside: `tar_walk` and `tar_header` (headers), `grouping` (members to samples),
`scan` (where samples begin), `offsets`, `digests` and `index_file` (what is kept beside the shards), `jpeg` (the fast path of
decoding).
"""

from pipeline.shards.build import IndexedShard, build_index, found_shards, index_shard, join_shards
from pipeline.shards.decode import DECODING_BYTES_PER_PIXEL, decode_image, image_format
from pipeline.shards.fields import RawSample, check_digest, decode_label, has_label, image_field
from pipeline.shards.geometry import CENTER, Cut
from pipeline.shards.image_open import MAX_PIXELS
from pipeline.shards.index import DatasetMeta, MixedSource, ShardIndex, ShardInfo, has_offsets_at_hand, sample_offsets
from pipeline.shards.index_file import INDEX_NAME, load_index, save_index
from pipeline.shards.open import open_data
from pipeline.shards.pack import pack
from pipeline.shards.read import Place, fetch_ranges, ranges_at_hand, read_samples, read_sound_samples
from pipeline.shards.rereading import MAX_READS, reread
from pipeline.shards.shard_range import RangeSamples, ShardRange
from pipeline.shards.source import ImageSource, SourceImage
from pipeline.shards.sources import PACKAGED, image_folder, open_source
from pipeline.shards.urls import expand_shards

__all__ = [
    "CENTER",
    "DECODING_BYTES_PER_PIXEL",
    "INDEX_NAME",
    "MAX_PIXELS",
    "MAX_READS",
    "PACKAGED",
    "Cut",
    "DatasetMeta",
    "ImageSource",
    "IndexedShard",
    "MixedSource",
    "Place",
    "RangeSamples",
    "RawSample",
    "ShardIndex",
    "ShardInfo",
    "ShardRange",
    "SourceImage",
    "build_index",
    "check_digest",
    "decode_image",
    "decode_label",
    "expand_shards",
    "fetch_ranges",
    "found_shards",
    "has_label",
    "has_offsets_at_hand",
    "image_field",
    "image_folder",
    "image_format",
    "index_shard",
    "join_shards",
    "load_index",
    "open_data",
    "open_source",
    "pack",
    "ranges_at_hand",
    "read_samples",
    "read_sound_samples",
    "reread",
    "sample_offsets",
    "save_index",
]
