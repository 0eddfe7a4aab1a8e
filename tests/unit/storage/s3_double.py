"""A small S3 server in a thread, for the part of the protocol that storage uses, with faults on demand.

It is no oracle for S3 itself (a real server is that); it lets the real client meet throttling, lost answers and races.
"""

import hashlib
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape


class S3Double(ThreadingHTTPServer):
    """Buckets exist as soon as they are named. `faults` holds what the next requests meet, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.reset()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def reset(self) -> None:
        """Forget everything."""
        self.objects: dict[str, bytes] = {}
        self.faults: deque[str] = deque()
        self.requests: list[str] = []
        self.botocores = 0  # of them, by all of botocore's rules
        self.signed_for: set[str] = set()  # regions
        self.moved: tuple[int, str] | None = None  # how requests for other regions are answered, and the bucket's own
        self.refusal_names_condition = True
        self.ignores_condition = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Double  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _meet_fault(self) -> bool:
        """Meet the next planned fault, if any; True if the request is over with it."""
        with self.server.lock:
            self.server.requests.append(f"{self.command} {self.path}")
            self.server.botocores += "amz-sdk-invocation-id" in self.headers
            scope = self.headers.get("Authorization", "").split("/")
            signed_for = scope[2] if len(scope) > 2 else ""
            self.server.signed_for.add(signed_for)
            fault = self.server.faults.popleft() if self.server.faults else ""
        moved = self.server.moved
        if moved is not None and signed_for != moved[1]:
            self._answer(
                moved[0], _error("PermanentRedirect" if moved[0] == 301 else "TemporaryRedirect"), x_amz_bucket_region=moved[1]
            )
            return True
        if fault == "hang up":
            self.close_connection = True
        elif fault == "cut body":  # promise more than is sent
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
            self.close_connection = True
        elif fault == "lose answer":  # do the work, then hang up
            self.wfile = open("/dev/null", "wb")  # noqa: SIM115
            self.close_connection = True
            return False
        elif fault:
            status, code = fault.split()
            self._answer(int(status), _error(code))
        return bool(fault)

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", headers.pop("length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        if self._meet_fault():
            return
        parts = urlsplit(self.path)
        if "list-type" in parse_qs(parts.query):
            self._answer(200, self._listing(unquote(parts.path).strip("/"), parse_qs(parts.query, keep_blank_values=True)))
            return
        data = self.server.objects.get(unquote(parts.path))
        if data is None:
            self._answer(404, _error("NoSuchKey"))
            return
        if self.headers.get("If-Match", _etag(data)) != _etag(data):
            self._answer(412, _error("PreconditionFailed"))
            return
        status, body, extra = 200, data, {}
        if wanted := self.headers.get("Range"):
            start, _, last = wanted.removeprefix("bytes=").partition("-")
            body = data[int(start) : int(last) + 1 if last else None]
            status = 206 if body else 416
            extra = {"Content_Range": f"bytes {start}-{int(start) + len(body) - 1}/{len(data)}"} if body else {}
        self._answer(status, body if self.command == "GET" else b"", ETag=_etag(data), length=str(len(body)), **extra)

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._meet_fault():
            return
        key = unquote(urlsplit(self.path).path)
        with self.server.lock:
            conditional = self.headers.get("If-None-Match") == "*" and not self.server.ignores_condition
            taken = conditional and key in self.server.objects
            if not taken:
                self.server.objects[key] = body
        if taken:
            extra = "<Condition>If-None-Match</Condition>" if self.server.refusal_names_condition else ""
            self._answer(412, _error("PreconditionFailed", extra))
        else:
            self._answer(200, ETag=_etag(body))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._meet_fault():
            return
        bucket = urlsplit(self.path).path.strip("/")
        for element in ElementTree.fromstring(body).iter():
            if element.tag.endswith("Key"):
                self.server.objects.pop(f"/{bucket}/{element.text}", None)
        self._answer(200, b"<DeleteResult/>")

    def _listing(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        """Pages of 3 keys, so that paging is always used."""
        prefix, delimiter = query["prefix"][0], query.get("delimiter", [""])[0]
        after = query.get("continuation-token", [""])[0]
        entries: dict[str, str] = {}
        for path, data in sorted(self.server.objects.items()):
            key = path.removeprefix(f"/{bucket}/")
            if key == path or not key.startswith(prefix):
                continue
            below, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                folder = escape(f"{prefix}{below}{delimiter}")
                entries[folder] = f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"
            else:
                entries[key] = (
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>{escape(_etag(data))}</ETag>"
                    "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                )
        page = [name for name in sorted(entries) if name > after]
        more = len(page) > 3
        token = f"<NextContinuationToken>{page[2]}</NextContinuationToken>" if more else ""
        inner = "".join(entries[name] for name in page[:3])
        return (
            f"<ListBucketResult><Name>{bucket}</Name><KeyCount>{len(page[:3])}</KeyCount>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{inner}</ListBucketResult>"
        ).encode()


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _error(code: str, extra: str = "") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{code} as asked</Message>{extra}</Error>".encode()
