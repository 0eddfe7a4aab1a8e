import secrets
from pathlib import Path

import pytest


@pytest.fixture(params=["local", "memory"])
def set_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder for a sample set on each store in turn."""
    return str(tmp_path / "set") if request.param == "local" else f"memory://{secrets.token_hex(8)}/set"
