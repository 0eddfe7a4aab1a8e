import json
import os
import zipfile
from pathlib import Path

import fsspec
import pytest

from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError
from pipeline.shards import expand_shards, open_data


def _names(urls: list[str]) -> list[str]:
    return [url.rpartition("/")[2] for url in urls]


ALL = ["train-000.tar", "train-001.tar", "train-002.tar"]


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("", ALL),
        ("/", ALL),
        ("/train-{000..002}.tar", ALL),
        ("/train-{000..001}.tar", ALL[:2]),
        ("/train-{002,000}.tar", [ALL[2], ALL[0]]),
        ("/train-*.tar", ALL),
        ("/train-00[02].tar", [ALL[0], ALL[2]]),
        ("/train-{002,00[01]}.tar", [ALL[2], ALL[0], ALL[1]]),
        ("/train-001.tar", ALL[1:2]),
    ],
)
def test_forms_of_naming_shards(shard_folder: Path, tail: str, expected: list[str]) -> None:
    urls = expand_shards(f"{shard_folder}{tail}")
    assert _names(urls) == expected
    assert all(Path(url).is_absolute() for url in urls)


def test_relative_paths_become_absolute(shard_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shard_folder.parent)
    assert expand_shards("data/train-{000..002}.tar") == [str(shard_folder / name) for name in ALL]


def test_a_text_file_names_shards_relative_to_itself(shard_folder: Path) -> None:
    text = f"# the train split\n\ntrain-{{000..001}}.tar\n  {shard_folder}/train-002.tar # absolute\n"
    (shard_folder / "list.txt").write_text(text)
    assert _names(expand_shards(f"{shard_folder}/list.txt")) == ALL


def test_a_list_may_begin_with_a_byte_order_mark(shard_folder: Path) -> None:
    (shard_folder / "list.txt").write_text("train-000.tar\n", encoding="utf-8-sig")
    assert _names(expand_shards(f"{shard_folder}/list.txt")) == ALL[:1]


def test_braces_in_a_list_may_hold_absolute_paths(shard_folder: Path) -> None:
    lists = shard_folder.parent / "lists"
    lists.mkdir()
    (lists / "list.txt").write_text(f"{{{shard_folder}/train-000,{shard_folder}/train-002}}.tar\n../data/train-001.tar\n")
    assert _names(expand_shards(f"{lists}/list.txt")) == [ALL[0], ALL[2], ALL[1]]


def test_lists_may_name_lists(shard_folder: Path) -> None:
    for number in range(7):
        (shard_folder / f"{number}.txt").write_text(f"{number + 1}.txt\n")
    (shard_folder / "7.txt").write_text("train-*.tar\n")
    assert _names(expand_shards(f"{shard_folder}/0.txt")) == ALL


def test_a_pattern_may_be_longer_than_any_file_name(shard_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shard_folder)
    for number in range(60):
        (shard_folder / f"long-{number:06d}.tar").write_bytes(b"")
    pattern = "{" + ",".join(f"long-{number:06d}" for number in range(60)) + "}.tar"
    assert len(expand_shards(pattern)) == 60


def test_an_index_names_shards_relative_to_itself(shard_folder: Path) -> None:
    shards = [{"url": name, "nsamples": 1, "filesize": 1} for name in ALL[1:]]
    (shard_folder / "two.json").write_text(
        json.dumps({"wids_version": 1, "__kind__": "wids-shard-index-v1", "shardlist": shards})
    )
    assert _names(expand_shards(f"{shard_folder}/two.json")) == ALL[1:]


def test_other_stores_are_named_in_the_same_ways(shard_folder: Path) -> None:
    store = fsspec.filesystem("memory")
    for name in ALL:
        store.pipe(f"/urls-test/{name}", (shard_folder / name).read_bytes())
    for tail in ("", "/", "/train-{000..002}.tar", "/train-*.tar"):
        assert [url.removeprefix("memory:///") for url in _slashes(expand_shards(f"memory://urls-test{tail}"))] == [
            f"urls-test/{name}" for name in ALL
        ]
    with pytest.raises(ConfigError, match=r"there is no memory://urls-test/train-003\.tar"):
        expand_shards("memory://urls-test/train-{000..003}.tar")


def _slashes(urls: list[str]) -> list[str]:
    return [f"memory:///{url.removeprefix('memory://').lstrip('/')}" for url in urls]


def test_a_file_whose_name_has_braces_is_found(shard_folder: Path) -> None:
    odd = shard_folder / "odd{1,2}[x].tar"
    (shard_folder / "train-000.tar").rename(odd)
    assert expand_shards(str(odd)) == [str(odd)]


@pytest.mark.parametrize("form", ["", "x-0.tar", "x-{0..1}.tar", "x-*.tar", "x-[01].tar", "list.txt"])
def test_folders_whose_names_have_brackets(shard_folder: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Named from within, from above and absolutely; a pattern is what was typed, not what it is relative to."""
    folder = shard_folder.parent / "v[2]"
    shard_folder.rename(folder)
    for number in (0, 1):
        (folder / f"train-00{number}.tar").rename(folder / f"x-{number}.tar")
    (folder / "list.txt").write_text("x-{0..1}.tar\n")
    (folder / "train-002.tar").unlink()
    expected = [str(folder / f"x-{number}.tar") for number in range(1 if form == "x-0.tar" else 2)]
    assert expand_shards(f"{folder}/{form}") == expected
    monkeypatch.chdir(folder.parent)
    assert expand_shards(f"v[2]/{form}") == expected
    monkeypatch.chdir(folder)
    assert expand_shards(form or ".") == expected


def _setup(folder: Path, name: str) -> str:
    if name == "empty folder":
        (folder / "empty").mkdir()
        (folder / "empty" / "notes.md").write_text("no shards")
        return f"{folder}/empty"
    if name == "dangling":
        (folder / "train-003.tar").symlink_to("/nowhere/train-003.tar")
        (folder / "train-004.tar").symlink_to("/nowhere/train-004.tar")
        return str(folder)
    if name == "half packed":
        (folder / "packing.json").write_text("{}")
        return str(folder)
    if name == "compressed":
        (folder / "a.tar.gz").write_bytes(b"\x1f\x8b")
        return f"{folder}/a.tar.gz"
    if name == "empty list":
        (folder / "list.txt").write_text("# nothing\n")
        return f"{folder}/list.txt"
    if name == "list of itself":
        (folder / "a.txt").write_text("b.txt\n")
        (folder / "b.txt").write_text("train-000.tar\na.txt\n")
        return f"{folder}/a.txt"
    if name == "deep list":
        for number in range(20):
            (folder / f"{number}.txt").write_text(f"{number + 1}.txt\n")
        return f"{folder}/0.txt"
    if name == "binary list":
        (folder / "list.txt").write_bytes(b"\xff\xfe\x00")
        return f"{folder}/list.txt"
    return f"{folder}/{name}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nowhere.tar", r"there is no .*nowhere\.tar"),
        ("nowhere", r"there is no .*nowhere"),
        ("nowhere.json", r"there is no .*nowhere\.json"),
        ("train-{000..009}.tar", r"there is no .*train-003\.tar \(and 6 more\)"),
        ("test-*.tar", r"'.*test-\*\.tar', which matches nothing"),
        ("train-{000..001.tar", "unbalanced braces"),
        ("train-{000,000}.tar", r"train-000\.tar more than once"),
        ("empty folder", r"empty with 1 files and no \.tar"),
        ("dangling", r"but there is no .*train-003\.tar \(and 1 more\), which is a link to what is not there; expected"),
        ("half packed", "packing is unfinished"),
        ("compressed", r"compressed shard .*a\.tar\.gz"),
        ("empty list", r"list\.txt, which names no shards"),
        ("list of itself", r"got the list .*a\.txt in .*b\.txt in .*a\.txt; expected none within itself"),
        ("deep list", r"got the list .*8\.txt in .*7\.txt in .*at most 8 deep"),
        ("binary list", r"list\.txt, expected a text file"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(shard_folder: Path, name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        expand_shards(_setup(shard_folder, name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "tail", ["t-{0..9999999}", "t-{999999999999..0..-3}", "{0..999}-{000000..009999}", "{0..4,{5..999999999999}}"]
)
@pytest.mark.timeout(20)
def test_a_pattern_for_more_names_than_any_data_set_has_is_refused_at_once(shard_folder: Path, tail: str) -> None:
    with pytest.raises(ConfigError, match=r"got '.*', which stands for more than 1,000,000 names, expected at most as many"):
        expand_shards(f"{shard_folder}/{tail}.tar")


def test_a_hundred_thousand_names_are_none_too_many(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*t-0\.tar \(and 99999 more\)"):
        expand_shards(f"{tmp_path}/t-{{0..99999}}.tar")


@pytest.mark.timeout(30)
def test_the_last_of_many_shards_that_is_named_twice_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.shards.urls.look_up", lambda urls: urls)  # all are there
    with pytest.raises(ConfigError, match=r"t-99999\.tar more than once"):
        expand_shards("/nowhere/t-{{0..99999},99999}.tar")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["a.tar", "{a,b}.tar", "{a,b,c}.tar", "?.tar", "list.txt", "index.json", "lists/of.txt"])
def test_a_pipe_in_the_place_of_a_file_is_named_and_never_opened(tmp_path: Path, name: str) -> None:
    for pipe in ("a.tar", "b.tar", "c.tar", "list.txt", "index.json"):
        os.mkfifo(tmp_path / pipe)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "of.txt").write_text("../a.tar\n")
    with pytest.raises(PermanentStorageError, match=rf"is a named pipe, expected a file \({tmp_path}/(a\.tar|list|index)"):
        open_data(f"{tmp_path}/{name}")


def test_a_folder_with_a_pipe_named_as_a_shard_is_refused_and_other_pipes_are_no_matter(shard_folder: Path) -> None:
    for name in ("pipe", ".hidden.tar"):
        os.mkfifo(shard_folder / name)
    assert _names(expand_shards(str(shard_folder))) == ALL
    os.mkfifo(shard_folder / "train-003.tar")
    with pytest.raises(ConfigError, match=r"got the folder .*data, in which .*train-003\.tar is a named pipe; expected plain"):
        expand_shards(str(shard_folder))


def test_a_dangling_link_that_is_no_shard_is_no_matter_and_one_whose_target_is_there_is_a_shard(shard_folder: Path) -> None:
    (shard_folder / "notes.md").symlink_to("/nowhere/notes.md")
    (shard_folder / "train-002.tar").rename(shard_folder / "content")
    (shard_folder / "train-002.tar").symlink_to("content")
    assert _names(expand_shards(str(shard_folder))) == ALL


def test_an_index_that_is_none_is_refused(shard_folder: Path) -> None:
    (shard_folder / "index.json").write_text("{")
    with pytest.raises(CorruptDataError, match=r"not a shard index.*index\.json"):
        expand_shards(f"{shard_folder}/index.json")


@pytest.mark.parametrize("spec", ["http://host/data/", "https://host", "https://host/", "http://host/data/?page=2"])
def test_a_folder_of_a_web_server_is_refused_by_name(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"a folder of a web server.*name its shards or its index\.json"):
        expand_shards(spec)


def test_braces_are_expanded_before_another_store_is_asked() -> None:
    """The spec as it stands would be asked of a store that does not exist."""
    fsspec.filesystem("memory").pipe("/urls-braces/a.tar", b"")
    fsspec.filesystem("memory").pipe("/urls-braces/b.tar", b"")
    assert _names(expand_shards("{memory://urls-braces/a,memory://urls-braces/b}.tar")) == ["a.tar", "b.tar"]


@pytest.mark.parametrize("ending", ["tgz", "TGZ", "tar.gz", "tar.zst", "Tar.Bz2", "tar.xz", "tar.lz4", "tbz2"])
@pytest.mark.parametrize("store", ["local", "memory"])
def test_a_folder_with_compressed_shards_is_refused_by_their_names(shard_folder: Path, ending: str, store: str) -> None:
    """Not left out: what would be opened is less data than lies there, and nothing would say so."""
    names = [f"train-003.{ending}", f"train-004.{ending}"]
    for name in names:
        (shard_folder / name).write_bytes(b"\x1f\x8b")
    folder = str(shard_folder)
    if store == "memory":
        folder = f"memory://compressed-{ending.replace('.', '-')}"
        for path in shard_folder.iterdir():
            fsspec.filesystem("memory").pipe(f"{folder}/{path.name}", path.read_bytes())
    with pytest.raises(ConfigError, match=rf"with the compressed shard .*/{names[0]} \(and 1 more\), expected plain \.tar"):
        expand_shards(folder)
    assert _names(expand_shards(f"{folder}/train-*.tar")) == ALL  # a pattern names what it names


def test_a_link_to_a_compressed_shard_that_is_not_there_is_refused_too(shard_folder: Path) -> None:
    (shard_folder / "train-003.tar.gz").symlink_to("/nowhere/train-003.tar.gz")
    with pytest.raises(ConfigError, match=r"with the compressed shard .*/train-003\.tar\.gz, expected"):
        expand_shards(str(shard_folder))


def test_a_shard_is_one_in_whatever_case_and_what_is_hidden_is_none(shard_folder: Path) -> None:
    (shard_folder / "train-001.tar").rename(shard_folder / "train-001.TAR")
    for name in ("._train-000.tar", ".old.tar.gz", ".tar"):  # the first is what macOS leaves on a foreign disk
        (shard_folder / name).write_bytes(b"\0\5\x16\7")
    (shard_folder / ".gone.tar").symlink_to("/nowhere")
    (shard_folder / "notes.txt.gz").write_bytes(b"")
    assert _names(expand_shards(str(shard_folder))) == ["train-000.tar", "train-001.TAR", "train-002.tar"]
    assert open_data(str(shard_folder)).num_samples == 12


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("zip://*.tar::{}/all.zip", "a wildcard"),
        ("zip://d/[ab].tar::{}/all.zip", "a wildcard"),
        ("zip://*.tar::{}/*.zip", "a wildcard"),
        ("simplecache::{}/t*.tar", "a wildcard"),
        ("zip://d::{}/all.zip", "a folder"),
        ("zip://::{}/all.zip", "a folder"),
    ],
)
def test_in_a_chain_shards_are_named_and_not_looked_for(tmp_path: Path, spec: str, what: str) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for name in ("a.tar", "b.tar", "d/a.tar", "d/b.tar"):
            packed.writestr(name, b"x")
    with pytest.raises(ConfigError, match=rf"got '.*', {what} in a chain with '::', which is not listed; expected the names"):
        expand_shards(spec.format(tmp_path))
    found = expand_shards(f"zip://d/{{a,b}}.tar::{tmp_path}/all.zip")
    assert found == [f"zip://d/{name}.tar::{tmp_path}/all.zip" for name in "ab"]


@pytest.mark.parametrize(
    "spec",
    [
        "a.tar::b.tar",
        "/data/a-{000..001}.tar::/data/b.tar",
        "s3://bucket/a.tar::s3://bucket/b.tar",
        "http://host/a.tar::http://host/b.tar",
        "HTTPS://host/a.tar::https://host/b.tar",
    ],
)
def test_shards_joined_by_colons_are_refused_by_what_to_write_instead(spec: str) -> None:
    with pytest.raises(
        ConfigError, match=r"got '.*', several shards joined by '::'; expected braces, a folder or a \.txt list"
    ):
        expand_shards(spec)


def test_a_chain_of_file_systems_is_none_of_those(shard_folder: Path) -> None:
    archive = shard_folder.parent / "all.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(shard_folder / "train-000.tar", "a.tar")
    for spec in (f"zip://a.tar::{archive}", f"simplecache::{shard_folder}/train-000.tar"):
        assert expand_shards(spec) == [spec]


@pytest.mark.parametrize("spec", ["pipe:cat a.tar", "pipe:curl -s http://host/a.tar", "pipe:cat {000..001}.tar"])
def test_commands_are_not_run(spec: str) -> None:
    with pytest.raises(ConfigError, match="a command, and none is run; expected"):
        expand_shards(spec)


@pytest.mark.parametrize("spec", ["${ROOT}/a.tar", "s3://${ROOT}/a.tar", "s3://bucket/${ROOT}/a-{000..001}.tar"])
def test_variables_are_not_expanded(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOT", "/data")
    with pytest.raises(ConfigError, match=r"where \$\{ROOT\} is not expanded; expected what it stands for"):
        expand_shards(spec)
    with pytest.raises(ConfigError, match=r"there is no .*\$ROOT/a\.tar; .*variables are not expanded"):
        expand_shards("$ROOT/a.tar")


@pytest.mark.parametrize("name", ["pipe:a.tar", "${ROOT}.tar", "$a.tar"])
def test_a_file_of_such_a_name_is_that_file(shard_folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (shard_folder / "train-000.tar").rename(shard_folder / name)
    monkeypatch.chdir(shard_folder)
    assert expand_shards(name) == [str(shard_folder / name)]


def test_links_in_a_loop_are_named_as_links_to_nothing_are(shard_folder: Path) -> None:
    (shard_folder / "notes").symlink_to("notes")
    assert _names(expand_shards(str(shard_folder))) == ALL
    (shard_folder / "train-003.tar").symlink_to("train-003.tar")
    with pytest.raises(ConfigError, match=r"there is no .*train-003\.tar, which is a link to what is not there"):
        expand_shards(str(shard_folder))
    with pytest.raises(ConfigError, match=r"there is no .*train-003\.tar; expected"):
        expand_shards(f"{shard_folder}/train-003.tar")
