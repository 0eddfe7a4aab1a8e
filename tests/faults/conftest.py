import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from flaky import FlakyServer


@pytest.fixture
def flaky(tmp_path: Path) -> Iterator[FlakyServer]:
    """A flaky server over an empty folder, which s3:// URLs reach."""
    folder = tmp_path / "served"
    folder.mkdir()
    script = Path(__file__).with_name("flaky_server.py")
    process = subprocess.Popen([sys.executable, str(script), str(folder), "1"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = f"http://127.0.0.1:{int(process.stdout.readline())}"
    with pytest.MonkeyPatch.context() as environment:
        names = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in names.items():
            environment.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield FlakyServer(folder, url)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    process.kill()
    process.communicate()
