import secrets
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from s3_double import S3Double

STORES = ["local", "memory", "s3 double"]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Double]:
    """One double for all tests, with the environment that leads s3:// URLs to it: making a client takes a while."""
    server = S3Double()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", server.url)
        environment.setenv("AWS_ACCESS_KEY_ID", "key")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield server
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.shutdown()
    server.server_close()


@pytest.fixture
def s3(s3_server: S3Double) -> S3Double:
    """An empty S3 double which s3:// URLs reach."""
    s3_server.reset()
    return s3_server


@pytest.fixture(params=STORES)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder on each store in turn."""
    match request.param:
        case "local":
            return str(tmp_path / "root")
        case "memory":
            return f"memory://{secrets.token_hex(8)}/root"
        case _:
            request.getfixturevalue("s3")
            return "s3://bucket/root"
