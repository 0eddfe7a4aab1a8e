"""Objects on any store behind one small interface: local folders, memory://, s3://, http(s):// and whatever fsspec knows.

What lives here: addresses (`absolute_url`, `join`, `is_local`), reading (`read_bytes`, `read_range`, and `range_at_hand`
for what needs no waiting, into memory that `buffer` gives), looking (`exists`, `is_folder`, `is_object`, `info`,
`list_objects`, `dangling_links`, `special_files`, `glob`, and `put_trouble` before anything is put) and the ways to change
a store (`put_once`, `put_replace`, `remove_tree`, and `remove_partials` for what killed writers left). An object becomes
visible whole or not at all, a short read is an error, and transient faults are retried, bounded and counted (`counts`). A
ranged read that breaks off goes on at the byte reached, in the same version of the object; a store that asks to slow down
is asked more slowly by the whole process. `honours_put_once` finds stores that break the promise of `put_once`; `locked`
(local) and `leased` keep a second job out of a folder. `no_objects`, `is_taken` and `rename` see and move what on local
disks is no object and in the way of one.
"""

from pipeline.storage.at_hand import range_at_hand
from pipeline.storage.buffers import buffer, lend
from pipeline.storage.cache import RangeCache
from pipeline.storage.counts import StorageCounts, count, counts
from pipeline.storage.info import ObjectInfo
from pipeline.storage.lease import Fence, LeaseTiming, leased
from pipeline.storage.local_entries import is_taken, no_objects, rename
from pipeline.storage.local_lock import locked
from pipeline.storage.objects import (
    dangling_links,
    exists,
    glob,
    info,
    is_folder,
    is_object,
    list_objects,
    put_once,
    put_replace,
    read_bytes,
    read_range,
    remove_partials,
    remove_tree,
    server_of,
    special_files,
)
from pipeline.storage.probe import honours_put_once
from pipeline.storage.put_trouble import put_trouble
from pipeline.storage.retry import RetryPolicy
from pipeline.storage.urls import absolute_url, is_local, join, local_path

__all__ = [
    "Fence",
    "LeaseTiming",
    "ObjectInfo",
    "RangeCache",
    "RetryPolicy",
    "StorageCounts",
    "absolute_url",
    "buffer",
    "count",
    "counts",
    "dangling_links",
    "exists",
    "glob",
    "honours_put_once",
    "info",
    "is_folder",
    "is_local",
    "is_object",
    "is_taken",
    "join",
    "leased",
    "lend",
    "list_objects",
    "local_path",
    "locked",
    "no_objects",
    "put_once",
    "put_replace",
    "put_trouble",
    "range_at_hand",
    "read_bytes",
    "read_range",
    "remove_partials",
    "remove_tree",
    "rename",
    "server_of",
    "special_files",
]
