"""What Python's archives raise for `zip://a.tar::FILE` or `tar://a.tar::FILE` where the file is none, or is damaged."""

import gzip
import lzma
import tarfile
import zipfile
import zlib

# NotImplementedError: a compression that Python does not know.
_OF_ARCHIVES = zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, NotImplementedError


def is_archive_error(error: BaseException, url: str) -> bool:
    """Whether the error says that the file at the end of a chained URL is no archive of the named kind, or a damaged one.

    Args:
        error: What was raised.
        url: What was asked for: of another one, the same classes would be mistakes in the code.
    """
    has_password = isinstance(error, RuntimeError) and "password" in str(error)  # of a zip's member
    return "::" in url and (has_password or isinstance(error, _OF_ARCHIVES))
