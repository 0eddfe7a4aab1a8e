"""The stream without Ray: rows of a global batch, read from shards, decoded and put in the order's place.

A `SliceReader` makes its rows of any batch on request; loader actors wrap one each, and it works as well in a plain loop.
"""

from pipeline.stream.arrays import BatchArrays, concatenate
from pipeline.stream.config import ImageSpec, StreamConfig, make_order
from pipeline.stream.corrupt import (
    QUARANTINE_NAME,
    CorruptSample,
    OnCorrupt,
    Quarantine,
    check_budget,
    read_quarantine,
)
from pipeline.stream.memory import LoaderMemory, batches_a_call, calls_in_flight, decoding_bytes, loader_memory
from pipeline.stream.reader import SliceReader
from pipeline.stream.slots import Slot, SlotAddress, SlotPool, SlotReach
from pipeline.stream.whole import read_all

__all__ = [
    "QUARANTINE_NAME",
    "BatchArrays",
    "CorruptSample",
    "ImageSpec",
    "LoaderMemory",
    "OnCorrupt",
    "Quarantine",
    "SliceReader",
    "Slot",
    "SlotAddress",
    "SlotPool",
    "SlotReach",
    "StreamConfig",
    "batches_a_call",
    "calls_in_flight",
    "check_budget",
    "concatenate",
    "decoding_bytes",
    "loader_memory",
    "make_order",
    "read_all",
    "read_quarantine",
]
