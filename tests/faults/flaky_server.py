"""A server process that misbehaves on purpose: S3's GET, HEAD and listing of one folder, with faults drawn by chance.

    python flaky_server.py FOLDER SEED    # prints its port, then serves until killed

Faults come before or within an answer and hit ranged reads alone, so that opening a data set is not what is tested.
`POST /faults` with a JSON object {fault: probability} changes what is met from then on; `GET /met` tells how often
each was met. `forbid`, whatever its probability, takes away the right to list: S3 then answers 403 for what is missing.
"""

import contextlib
import hashlib
import json
import random
import socket
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

FOLDER, SEED = Path(sys.argv[1]), int(sys.argv[2])
DRAW, LOCK = random.Random(SEED), threading.Lock()
CHANCES: dict[str, float] = {}
MET: Counter[str] = Counter()
SENT: set[tuple[str, str]] = set()
ETAGS: dict[tuple[str, int, int], str] = {}


def etag(path: Path) -> str:
    key = (str(path), path.stat().st_mtime_ns, path.stat().st_size)
    if key not in ETAGS:
        ETAGS[key] = f'"{hashlib.md5(path.read_bytes()).hexdigest()}"'
    return ETAGS[key]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def fault(self) -> tuple[str, float]:
        """The fault that this request meets, and a number in [0, 1) to shape it with."""
        if "Range" not in self.headers:
            return "", 0.0
        with LOCK:
            draw, shape = DRAW.random(), DRAW.random()
            for name, chance in CHANCES.items():
                if draw < chance:
                    MET[name] += 1
                    return name, shape
                draw -= chance
        return "", shape

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str, **headers: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code><Message>as drawn</Message></Error>".encode(), **headers)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with LOCK:
            CHANCES.clear()
            CHANCES.update(json.loads(body))
        self.answer(200)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/met":
            self.answer(200, json.dumps(MET).encode())
            return
        path = FOLDER / unquote(parts.path).removeprefix("/bucket/")
        listing = "list-type" in parse_qs(parts.query)
        if "forbid" in CHANCES and (listing or not path.is_file()):
            self.error(403, "AccessDenied")
            return
        if listing:
            self.list(parse_qs(parts.query, keep_blank_values=True))
            return
        if not path.is_file():
            self.error(404, "NoSuchKey")
            return
        fault, shape = self.fault()
        if fault == "slow down":
            self.error(503, "SlowDown")
        elif fault == "slow down, later":
            self.error(503, "SlowDown", Retry_After="1")
        elif fault == "error":
            self.error(500, "InternalError")
        elif fault == "refuse":
            self.close_connection = True
        elif fault == "hang":
            time.sleep(3600)
        else:
            self.send(path, fault, shape)

    do_HEAD = do_GET  # noqa: N815

    def send(self, path: Path, fault: str, shape: float) -> None:
        if self.headers.get("If-Match", etag(path)) != etag(path):
            self.error(412, "PreconditionFailed")
            return
        data = path.read_bytes()
        size, wanted = len(data), self.headers.get("Range")
        headers = {"ETag": etag(path), "Last_Modified": "Wed, 01 Jan 2026 00:00:00 GMT"}
        if wanted and fault != "whole object":
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            end = min(int(last) + 1, size) if last else size
            if fault == "too little":
                end = max(int(first) + 1, int(int(first) + shape * (end - int(first))))
            data = data[int(first) : end]
            if not data:
                self.error(416, "InvalidRange")
                return
            headers["Content_Range"] = f"bytes {first}-{int(first) + len(data) - 1}/{size}"
        if fault == "garble once" and wanted and (str(path), wanted) not in SENT:
            SENT.add((str(path), wanted))
            garbled = bytearray(data)
            garbled[::97] = (byte ^ 0x55 for byte in garbled[::97])
            data = bytes(garbled)
        if fault == "hole once" and wanted and (str(path), wanted) not in SENT:
            SENT.add((str(path), wanted))
            data = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
        if fault == "flip" and wanted and data:
            flipped = bytearray(data)
            flipped[int(shape * len(data))] ^= 1 << int(shape * 1e6) % 8
            data = bytes(flipped)
        if fault == "other range":
            headers["Content_Range"] = f"bytes 7-{6 + len(data)}/{size + 7}"
        if fault == "corrupt length":
            headers["Content_Length"] = str(len(data) + 1 + int(1000 * shape))
        sent = len(data)
        if fault in ("cut", "change", "reset", "hang inside", "delay", "drip"):
            sent = int(shape * len(data))
        self.answer_head(206 if wanted and fault != "whole object" else 200, len(data), headers)
        if self.command == "HEAD":
            return
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data[:sent])
            if fault == "delay":
                time.sleep(0.3)
                self.wfile.write(data[sent:])
            elif fault == "drip":
                for at in range(sent, len(data)):
                    self.wfile.write(data[at : at + 1])
                    time.sleep(0.5)
            elif fault == "change":
                # Cut, and another object in this one's place before the client can ask again.
                (FOLDER / "next").replace(path)
                with LOCK:
                    CHANCES.clear()
            elif fault == "hang inside":
                time.sleep(3600)
            elif fault == "reset":
                # An RST instead of an orderly end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.connection.close()
        if fault in ("cut", "change", "reset", "corrupt length"):
            self.close_connection = True

    def answer_head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(length)} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def list(self, query: dict[str, list[str]]) -> None:
        prefix, delimiter = query["prefix"][0], query.get("delimiter", [""])[0]
        names = sorted(str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*") if file.is_file())
        names = [name for name in names if name.startswith(prefix)]
        below = {prefix + name[len(prefix) :].partition("/")[0] + "/" for name in names if "/" in name[len(prefix) :]}
        if delimiter:
            names = [name for name in names if "/" not in name[len(prefix) :]]
        entries = [
            f"<Contents><Key>{escape(name)}</Key><Size>{(FOLDER / name).stat().st_size}</Size>"
            f"<ETag>{escape(etag(FOLDER / name))}</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in names
        ]
        folders = [f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(below) if delimiter]
        inner = "".join(entries + folders)
        self.answer(
            200, f"<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>{inner}</ListBucketResult>".encode()
        )


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what happens here."""


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
