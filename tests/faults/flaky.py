"""The test's end of the flaky server."""

import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FlakyServer:
    """A server process that meets clients with faults; `s3://bucket/NAME` and `http_url/bucket/NAME` are files of `folder`."""

    folder: Path
    http_url: str

    def meet(self, **chances: float) -> None:
        """Sets how likely each fault is from now on; underscores stand for spaces."""
        body = json.dumps({name.replace("_", " "): chance for name, chance in chances.items()}).encode()
        with urllib.request.urlopen(f"{self.http_url}/faults", data=body, timeout=30):
            pass

    def met(self) -> dict[str, int]:
        """How often each fault was met."""
        with urllib.request.urlopen(f"{self.http_url}/met", timeout=30) as answer:
            return json.loads(answer.read())
