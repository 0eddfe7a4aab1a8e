"""From what a user types to the list of shards it means."""

import glob
import re
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError
from pipeline.shards.braces import FORMS, pieces_of
from pipeline.shards.index import ShardIndex
from pipeline.shards.index_file import INDEX_NAME, PACKING_NAME, load_index
from pipeline.shards.places import (
    base_name,
    folder_of,
    is_compressed,
    is_compressed_tar,
    is_shard,
    is_web,
    look_up,
    matching,
    path_of,
    read_file,
    refuse_dangling,
    refuse_special,
    resolve,
)
from pipeline.shards.rereading import reread

_GLOB = re.compile(r"[*?\[]")
_MOST_LISTS = 8
"""How deep lists may lie within lists."""
_STORE = re.compile(r"(?:(?:s3a?|gcs|gs|az|abfss?|hf|memory|file|local)://|[^:]*[./])", re.IGNORECASE)
"""How a URL begins that holds no other one: fsspec chains only archives and caches, such as `zip://a.tar::URL`."""
_JOINT = re.compile(r"::\w+://")
"""Between two URLs of web servers, whose addresses and names may have colons."""
_IN_CHAINS = "a chain with '::', which is not listed; expected the names of shards, as zip://{000..010}.tar::FILE has them"
_VARIABLE = re.compile(r"\$\{\w+\}")


@dataclass(frozen=True, slots=True)
class Expanded:
    """The shards that were named."""

    urls: list[str]
    """Their URLs."""
    index: ShardIndex | None = None
    """The index that named them, where one alone did."""
    index_url: str = ""
    """Its URL."""


def expand_shards(spec: str) -> list[str]:
    """The URLs of the shards that `spec` names; all exist. Order: as listed, sorted where `spec` gives no order.

    Args:
        spec: One of: a pattern with braces (`train-{000000..000010}.tar`, `{a,b}.tar`), a glob (`train-*.tar`), a folder
            (every `.tar` in it, in whatever case, that is not hidden; where there is none, those that its `index.json`
            names), a `.txt` file of such URLs (one a line, `#` begins a comment, relative ones relative to the file), a `wids`
            index, or one `.tar`. Local paths or any URL that `pipeline.storage` reads.

    Returns:
        At least one absolute URL, none twice.

    Raises:
        ConfigError: A path is missing, a pattern matches nothing or stands for more than `MAX_NAMES`, a folder has no shards or
            is still being packed, a shard is compressed (also one that merely lies in the folder), a link to what is not there
            or no plain file, or one is named twice.
        CorruptDataError: The index file is damaged, or two readings of what a web server has differ.
        StorageError: The store could not be asked.
    """
    return expand(spec).urls


def expand(spec: str) -> Expanded:
    """As `expand_shards`, with the index where one named them, so that it is read once.

    Args:
        spec: As there.

    Raises:
        ConfigError: As there.
        CorruptDataError: As there.
        StorageError: As there.
    """
    found = _expand(spec, spec)
    urls = found.urls
    for url in urls:
        if is_compressed(url):
            raise ConfigError(f"got the compressed shard {url}, expected a plain .tar: ranges of it are read")
    if len(set(urls)) != len(urls):
        twice = Counter(urls).most_common(1)[0][0]
        raise ConfigError(f"got the shard {twice} more than once, expected every shard once, in {spec!r}")
    return found


def _expand(spec: str, asked: str, folder: str = "", lists: tuple[str, ...] = ()) -> Expanded:
    url = _placed(spec, folder)
    _refuse_foreign(spec, asked, url)
    try:
        is_web_folder = is_web(url) and urlsplit(spec).path[-1:] in ("", "/")
    except ValueError as error:
        raise ConfigError(f"got {asked!r}, which is no URL: {error}") from None
    if base_name(url).endswith(".txt") and storage.exists(url):
        return Expanded(_expand_list(url, lists))
    if base_name(url).endswith(".json") and storage.exists(url):
        return _by_index(url)
    if is_web_folder:
        raise ConfigError(f"got {asked!r}, a folder of a web server, which has no listing; name its shards or its {INDEX_NAME}")
    if storage.is_local(url):  # as it stands, first: names of files and folders may have braces or stars in them
        if storage.is_folder(url):
            return _folder(url)
        if storage.exists(url):
            storage.info(url)  # refuses what is no file by what it is
            return Expanded([url])
    pieces = pieces_of(spec, asked)
    if not storage.is_local(url) and len(pieces) == 1 and storage.is_folder(url):
        if _is_chain(url):
            raise ConfigError(f"got {asked!r}, a folder in {_IN_CHAINS}")
        return _folder(url)
    urls = [found for piece in pieces for found in _matches(piece, asked, folder)]
    missing = [url for url, entry in zip(urls, look_up(urls), strict=True) if entry is None]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        note = "; variables are not expanded" if "$" in spec else ""
        raise ConfigError(f"got {asked!r}, but there is no {missing[0]}{more}; {FORMS}{note}")
    return Expanded(urls)


def _by_index(url: str) -> Expanded:
    index = load_index(url)
    return Expanded([shard.url for shard in index.shards], index, url)


def _refuse_foreign(spec: str, asked: str, url: str) -> None:
    """Refuses by its reason what webdataset takes and this reader does not, where no local file is named so."""
    if not (problem := _foreign(spec)) or (storage.is_local(url) and storage.exists(url)):
        return
    raise ConfigError(f"got {asked!r}, {problem}")


def _foreign(spec: str) -> str:
    if spec.startswith("pipe:"):
        return f"a command, and none is run; {FORMS}"
    if _JOINT.search(spec) if is_web(spec) else "::" in spec and _STORE.match(spec):
        return "several shards joined by '::'; expected braces, a folder or a .txt list of them"
    if variable := _VARIABLE.search(spec):
        return f"where {variable[0]} is not expanded; expected what it stands for"
    return ""


def _matches(piece: str, asked: str, folder: str) -> list[str]:
    """The URL that a name is, or those that a pattern matches; what it is relative to is no part of the pattern."""
    url = _placed(piece, folder)
    if not _GLOB.search(path_of(url) if is_web(url) else piece) or storage.exists(url):  # a name may have brackets in it, too
        return [url]
    if _is_chain(url):
        raise ConfigError(f"got {asked!r}, a wildcard in {_IN_CHAINS}")
    head, _, tail = piece.rpartition("/")
    if head and storage.is_local(url) and storage.is_folder(_placed(head, folder)):
        piece = f"{glob.escape(head)}/{tail}"
    is_absolute = "://" in piece or piece.startswith(("/", "~"))
    pattern = _placed(piece, folder) if is_absolute else resolve(glob.escape(folder or storage.absolute_url(".")), piece)
    if not (matches := reread(lambda _: matching(pattern), "expand_shards")):
        if is_web(url):
            raise ConfigError(
                f"got {asked!r}, which matches nothing on a web server, most of which have no listing; name its shards, as "
                f"with {{000..010}} or in a .txt list, or its {INDEX_NAME}"
            )
        raise ConfigError(f"got {asked!r}, which matches nothing; {FORMS}")
    return matches


def _is_chain(url: str) -> bool:
    return "::" in url and not storage.is_local(url) and not is_web(url)


def _placed(name: str, folder: str) -> str:
    """A name as a URL; in a list it is relative to the list's folder."""
    return resolve(folder, name) if folder else storage.absolute_url(name)


def _folder(url: str) -> Expanded:
    names = [entry.url for entry in storage.list_objects(url)]
    links = storage.dangling_links(url)
    refuse_dangling(url, [link for link in links if is_shard(link)])
    refuse_special(url, {name: kind for name, kind in storage.special_files(url).items() if is_shard(name)})
    bases = {base_name(name) for name in names}
    if PACKING_NAME in bases and INDEX_NAME not in bases:
        raise unfinished(url)
    if compressed := [name for name in (*names, *links) if is_compressed_tar(name)]:
        more = f" (and {len(compressed) - 1} more)" if len(compressed) > 1 else ""
        raise ConfigError(
            f"got the folder {url} with the compressed shard {compressed[0]}{more}, expected plain .tar files: ranges of them "
            "are read; unpack it, move it elsewhere, or name the shards by a pattern"
        )
    shards = [name for name in names if is_shard(name)]
    if not shards and INDEX_NAME in bases:  # of shards that lie elsewhere
        return _by_index(storage.join(url, INDEX_NAME))
    if not shards:
        raise ConfigError(f"got the folder {url} with {len(names)} files and no .tar among them; {FORMS}")
    return Expanded(shards)


def unfinished(folder: str) -> ConfigError:
    """The error for a folder that `pack` began to fill and did not finish.

    Args:
        folder: Its URL.
    """
    return ConfigError(f"got the folder {folder}, whose packing is unfinished; run the same pack command again")


def _expand_list(url: str, lists: tuple[str, ...]) -> list[str]:
    if url in lists or len(lists) == _MOST_LISTS:
        within = " in ".join(reversed(lists))
        raise ConfigError(f"got the list {url} in {within}; expected none within itself, and at most {_MOST_LISTS} deep")
    try:
        lines = reread(lambda _: _lines(url), "expand_shards")
    except CorruptDataError as error:
        raise ConfigError(f"got {url}, {error.problem}") from None
    urls: list[str] = []
    for line in lines:
        entry = line.partition("#")[0].strip()
        if entry:
            urls += _expand(entry, f"{entry} in {url}", folder_of(url), (*lists, url)).urls
    if not urls:
        raise ConfigError(f"got {url}, which names no shards; expected one a line")
    return urls


def _lines(url: str) -> list[str]:
    try:
        return read_file(url).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CorruptDataError(f"expected a text file with one shard a line: {error}", url) from None
