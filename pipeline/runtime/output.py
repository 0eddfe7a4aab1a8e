"""Standard output and error that nobody has to read: a job of days does not die for its log."""

import io
import os
import sys
from typing import Any, TextIO


class _Unheard(io.FileIO):
    """A descriptor to write to; what cannot be written (nobody reads the pipe, the disk is full) is dropped."""

    def write(self, data: Any, /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None  # as it also is for a full pipe that does not wait
        return memoryview(data).nbytes if written is None else written


def speak_unheard() -> None:
    """From now on nothing that this process prints fails, nor does the flush at its end. Every line is tried anew.

    Streams that are no files, as a test may put in their place, stay as they are.
    """
    sys.stdout, sys.stderr = _unheard(sys.stdout), _unheard(sys.stderr)


def _unheard(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed before the start, as by `>&-`
        return open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        raw = _Unheard(stream.fileno(), "w", closefd=False)
    except io.UnsupportedOperation:
        return stream
    at_once = stream.line_buffering or stream.write_through
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=at_once)
