"""URLs of web servers as they are signed: every request is for what was typed, and a query does not hide what a file is."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from wire import Wire, flip, same

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError
from pipeline.shards import expand_shards, open_data, read_samples
from pipeline.shards.versions import load_versions


class Server(ThreadingHTTPServer):
    """A web server of one shard under every name, of an index and of a list; it notes what it is asked for."""

    def __init__(self, shard: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.shard = shard
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path, _, _ = self.path.partition("?")
        data = self.server.shard
        if path == "/signed.json":
            shard = {"url": f"{self.server.url}/t.tar?sig=b%2Fc", "nsamples": 7, "filesize": len(data)}
            data = json.dumps({"wids_version": 1, "__kind__": "wids-shard-index-v1", "shardlist": [shard]}).encode()
        elif path == "/signed.mix.json":
            data = b'{"mixture": {"a.tar?sig=1": 1, "b.tar?sig=1": 1}}'
        elif path == "/signed.txt":
            data = f"{self.server.url}/t.tar?sig=b%2Fc\n".encode()
        elif not path.endswith(".tar"):
            self.send_error(404)
            return
        self.server.asked.append(self.path)
        if unquote(path) != path and "moved" in path:
            self.send_response(302)
            self.send_header("Location", "/t.tar?sig=%2F%7E%2B%3D")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        ranged = self.headers.get("Range")
        if ranged:
            start, _, last = ranged.removeprefix("bytes=").partition("-")
            data = data[int(start) : int(last) + 1]
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", '"v1"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET  # noqa: N815


@pytest.fixture
def server(shard_folder: Path) -> Iterator[Server]:
    server = Server((shard_folder / "train-000.tar").read_bytes())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("/t.tar?c=a%2Fb%3D%2B", None),
        ("/t.tar?c=%7Ex", None),
        ("/a%28b.tar", None),
        ("/a%20b.tar", None),
        ("/t.tar?sig=ab/", None),
        ("/t.tar?q=*", None),
        ("/t.tar?sig=a::b", None),
        ("/t.tar?a=1;b=2,3", None),
        ("/a b.tar", "/a%20b.tar"),
        ("/tü.tar", "/t%C3%BC.tar"),
        ("/t.tar#here", "/t.tar"),
        ("/t-{000..000}.tar?sig=%2F", "/t-000.tar?sig=%2F"),
    ],
)
def test_every_request_is_for_what_was_typed(server: Server, typed: str, asked: str | None) -> None:
    index = open_data(f"{server.url}{typed}")
    assert (index.num_samples, len(read_samples(index, 0, 0, 2))) == (7, 2)
    assert set(server.asked) == {asked or typed}


def test_a_redirect_is_followed_to_what_it_names(server: Server) -> None:
    assert open_data(f"{server.url}/moved%20.tar").num_samples == 7
    assert set(server.asked) == {"/moved%20.tar", "/t.tar?sig=%2F%7E%2B%3D"}


@pytest.mark.parametrize("name", ["signed.json", "signed.json?sig=1", "signed.txt?sig=1", "signed.txt#1"])
def test_what_a_file_is_stands_before_the_query(server: Server, name: str) -> None:
    index = open_data(f"{server.url}/{name}")
    assert [shard.url for shard in index.shards] == [f"{server.url}/t.tar?sig=b%2Fc"]
    assert len(read_samples(index, 0, 0, 7)) == 7


def test_a_signed_mixture_is_one(server: Server) -> None:
    index = open_data(f"{server.url}/signed.mix.json?sig=1")
    assert [shard.url for shard in index.shards] == [f"{server.url}/{name}.tar?sig=1" for name in "ab"]


def test_the_scheme_has_no_case(server: Server) -> None:
    index = open_data(f"{server.url.replace('http', 'HTTP')}/t.tar")
    assert [shard.url for shard in index.shards] == [f"{server.url}/t.tar"]


def test_a_list_whose_bytes_change_on_their_way_is_read_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, url = Wire(monkeypatch), f"{server.url}/signed.txt"
    named = [f"{server.url}/t.tar?sig=b%2Fc"]
    at = len(server.url) + 1
    for damage, readings in (([], 2), ([flip(at)], 4), ([same, flip(at)], 4), ([flip(at, 7)] * 2, 4)):
        wire.meet("signed.txt", *damage)
        assert expand_shards(url) == named
        assert wire.readings["signed.txt"] == readings
    wire.meet("signed.txt", flip(at), same, flip(at))
    with pytest.raises(ConfigError, match=r"got http://.*signed\.txt, two readings differ"):
        expand_shards(url)


def test_a_list_on_a_disk_is_read_again_where_it_is_no_text(shard_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(monkeypatch)
    (shard_folder / "list.txt").write_text("train-000.tar\n")
    for damage, readings in (([], 1), ([flip(3, 7)], 2)):
        wire.meet("list.txt", *damage)
        assert expand_shards(f"{shard_folder}/list.txt") == [f"{shard_folder}/train-000.tar"]
        assert wire.readings["list.txt"] == readings


@pytest.mark.parametrize(("readings", "at"), [(nth, at) for nth in range(4) for at in ("t.tar", "7,")])
def test_an_index_whose_bytes_change_on_their_way_is_read_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, readings: int, at: str
) -> None:
    """Whichever reading it is, and though what comes is an index, too: of another shard, or of fewer samples."""
    wire, url = Wire(monkeypatch), f"{server.url}/signed.json"
    damaged = flip(storage.read_bytes(url).index(at.encode()))
    wire.meet("signed.json", *[same] * readings, damaged)
    (shard,) = open_data(url).shards
    assert (shard.url, shard.num_samples) == (f"{server.url}/t.tar?sig=b%2Fc", 7)
    assert wire.readings["signed.json"] == 6
    wire.meet("signed.json", *[damaged, same] * 4)
    with pytest.raises(CorruptDataError, match=r"two readings differ, expected them alike .*signed\.json"):
        open_data(url)


@pytest.mark.parametrize("readings", range(4))
def test_a_mixture_whose_bytes_change_on_their_way_is_read_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, readings: int
) -> None:
    wire, url = Wire(monkeypatch), f"{server.url}/signed.mix.json"
    damaged = flip(storage.read_bytes(url).index(b": 1") + 2, 1)  # 1 becomes 3
    wire.meet("signed.mix.json", *[same] * readings, damaged)
    assert [source.weight for source in open_data(url).sources] == [1, 1]
    assert wire.readings["signed.mix.json"] == 6


def test_versions_that_change_on_their_way_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sound, other = (json.dumps({"fingerprint": "f", "versions": {name: "v"}}).encode() for name in "ab")
    coming = [other, sound, sound, sound]
    monkeypatch.setattr(storage, "exists", lambda url: True)
    monkeypatch.setattr(storage, "read_bytes", lambda url: coming.pop(0))
    assert load_versions("http://host/index.versions.json", "f") == {"a": "v"}
    assert not coming


def test_wildcards_match_what_two_listings_have(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [f"{server.url}/{name}.tar" for name in "ab"]
    listings = [both, both[:1], both, both]
    monkeypatch.setattr(storage, "glob", lambda url: listings.pop(0))
    assert expand_shards(f"{server.url}/train-*.t") == both
    assert not listings


def test_wildcards_that_match_nothing_are_told_what_web_servers_lack(server: Server) -> None:
    with pytest.raises(ConfigError, match=r"train-\*\.t', which matches nothing on a web server, most of which have no"):
        expand_shards(f"{server.url}/train-*.t")
