"""Ranged reads over TLS through a line that is cut or garbled: real handshakes, a certificate made for the test."""

import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import fsspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline import storage
from pipeline.errors import PermanentStorageError, TransientStorageError
from pipeline.storage import http_client, ranges, remote, retry, web_ranges
from pipeline.storage.pace import Paces

DATA = random.Random(0).randbytes(1_000_000)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its self-signed certificate for 127.0.0.1, in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return file


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        start, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        body = DATA[int(start) : int(last) + 1]
        self.send_response(206)
        self.send_header("ETag", '"v1"')
        self.send_header("Content-Range", f"bytes {start}-{last}/{len(DATA)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what happens here."""


class Line:
    """Passes bytes between clients and a server; the next connections meet `faults`, in order."""

    def __init__(self, server_port: int) -> None:
        self.faults: list[str] = []
        self._server_port = server_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                fault = self.faults.pop(0) if self.faults else ""
                if fault == "cut the handshake":
                    client.recv(65536)
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._server_port))
                threading.Thread(target=self._pass, args=(client, server, ""), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, fault), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, fault: str) -> None:
        passed = 0
        with contextlib.suppress(OSError), source, target:
            while data := bytearray(source.recv(65536)):
                passed += len(data)
                if fault and passed > 300_000:
                    if fault == "cut the body":
                        target.shutdown(socket.SHUT_RDWR)  # closing alone would wait for the other direction
                        return
                    data[100] ^= 1
                    fault = ""
                target.sendall(data)


@pytest.fixture
def line(certificate: Path) -> Iterator[Line]:
    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    passing = Line(server.server_port)
    yield passing
    passing.close()
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["s3", "https"])
def url(request: pytest.FixtureRequest, line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The object, through each client; neither has met this server before."""
    monkeypatch.setattr(remote, "_HTTP", http_client.HttpClient(5.0, 5.0))
    monkeypatch.setattr(remote, "_S3", web_ranges.S3Client(5.0, 5.0))
    names = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in ({"AWS_ENDPOINT_URL": f"https://127.0.0.1:{line.port}"} | names).items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield "s3://bucket/o" if request.param == "s3" else f"https://127.0.0.1:{line.port}/bucket/o"
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = retry.RetryPolicy(first_delay_s=0.001, longest_delay_s=0.01, total_s=30.0)
    monkeypatch.setattr(ranges.fetch_range, "__defaults__", ("", policy))
    monkeypatch.setattr(retry, "paces", Paces(time.monotonic))


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients trust the server's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("fault", ["cut the handshake", "cut the body", "flip a bit"])
def test_what_happens_to_the_line_is_ridden_out(line: Line, url: str, fault: str):
    line.faults += [fault] * 2
    before = storage.counts().retries.get("read_range", 0)
    assert storage.read_range(url, 1000, 990_000) == DATA[1000:990_000]
    assert storage.counts().retries["read_range"] == before + 2


def test_a_certificate_that_is_not_trusted_is_named_at_once(line: Line, url: str):
    before = storage.counts().retries.get("read_range", 0)
    with pytest.raises(PermanentStorageError, match=r"certificate verify failed.*/o\)"):
        storage.read_range(url, 0, 10)
    assert storage.counts().retries.get("read_range", 0) == before


def test_a_server_that_speaks_no_tls_is_given_up_after_few_attempts():
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = plain.accept()
                    with client:
                        client.recv(65536)
                        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(TransientStorageError, match=r"gave up after 8 attempts"):
            storage.read_range(f"https://127.0.0.1:{plain.getsockname()[1]}/o", 0, 10)
