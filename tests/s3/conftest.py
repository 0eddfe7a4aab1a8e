import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from ceph import BUCKET, COMMANDS, CephServer
from s3fs import S3FileSystem


@pytest.fixture(scope="session")
def ceph() -> Iterator[CephServer]:
    """A Ceph gateway that s3:// URLs reach, in this process and in those it starts."""
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    if missing:
        pytest.fail(f"{', '.join(missing)} not found: `make test-s3` installs them")
    home = Path(tempfile.mkdtemp(prefix="swr-ceph-"))
    server = CephServer(home)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        try:
            server.create()
            S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)
            yield server
        finally:
            server.stop()
            fsspec.get_filesystem_class("s3").clear_instance_cache()
            shutil.rmtree(home)


@pytest.fixture
def root(ceph: CephServer) -> str:
    """An empty folder on Ceph."""
    return f"s3://{BUCKET}/{secrets.token_hex(8)}"
