"""The error tree: what its docstring draws is what it is, and every class survives the way between Ray processes."""

import inspect
import pickle
import re

import pytest

from pipeline import errors
from pipeline.errors import CommitConflict, ConfigError, CorruptDataError, StorageError, SwissrollError

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


def made(kind: type[SwissrollError]) -> SwissrollError:
    """An error of this class, every argument of its constructor given."""
    if issubclass(kind, CorruptDataError):
        return kind("got 3 bytes, expected 4", "s3://bucket/shard.tar", 1536)
    if issubclass(kind, StorageError | CommitConflict):
        return kind("got no answer, expected one", "s3://bucket/shard.tar")
    return kind("got 3, expected 4, in here")


@pytest.mark.parametrize("kind", CLASSES)
def test_pickling_keeps_class_text_and_fields(kind: type[SwissrollError]) -> None:
    error = made(kind)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("kind", CLASSES)
def test_text_is_one_line_and_names_the_place(kind: type[SwissrollError]) -> None:
    text = str(made(kind))
    assert "\n" not in text
    assert re.search(r"s3://bucket/shard\.tar|in here", text)


def test_corrupt_data_names_the_byte_only_where_it_is_known() -> None:
    assert str(CorruptDataError("bad", "a.tar", 0)) == "bad (a.tar at byte 0)"
    assert str(CorruptDataError("bad", "a.tar")) == "bad (a.tar)"


def test_the_tree_in_the_docstring_is_the_real_tree() -> None:
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^[\s│├└─]*([A-Z]\w+)(?=$|\s{2,}| [a-z])", line)
        if match is None or not line.startswith("    "):
            continue
        depth = match.start(1)
        above = [entry for entry in above if entry[0] < depth]
        drawn[match[1]] = above[-1][1] if above else "Exception"
        above.append((depth, match[1]))
    real = {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES}
    assert drawn == real


def test_the_users_mistakes_are_one_branch() -> None:
    theirs = {kind.__name__ for kind in CLASSES if issubclass(kind, ConfigError)}
    assert theirs == {"ConfigError", "ResumeMismatch", "ClusterError"}
