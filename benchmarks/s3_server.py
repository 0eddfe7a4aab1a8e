"""The stream benchmark's shards on a real S3 server, Ceph on this machine; its CPU time is not counted, only the clients'."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import botocore.session

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "s3"))
from ceph import BUCKET, CephServer, install


@contextlib.contextmanager
def s3_server() -> Iterator[None]:
    """Serves, and leads this process and its children there."""
    install()
    home = Path(tempfile.mkdtemp(prefix="swr-ceph-"))
    server = CephServer(home)
    os.environ.update(server.environment)
    try:
        server.create()
        botocore.session.get_session().create_client("s3").create_bucket(Bucket=BUCKET, ACL="public-read")
        yield
    finally:
        server.stop()
        shutil.rmtree(home)


def upload(folder: str) -> tuple[str, str]:
    """Copies a folder; returns its address as s3:// and, for who reads by HTTP, as http://."""
    client, root = botocore.session.get_session().create_client("s3"), Path(folder)

    def put(path: Path) -> None:
        key = f"{root.name}/{path.relative_to(root)}"
        client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes(), ACL="public-read")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, (path for path in sorted(root.rglob("*")) if path.is_file())))
    return f"s3://{BUCKET}/{root.name}", f"{os.environ['AWS_ENDPOINT_URL']}/{BUCKET}/{root.name}"
