import shutil
from pathlib import Path

import pytest
from generation_sets import made


@pytest.fixture(scope="module", params=["parquet", "tar"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published set, once of Parquet files and once of shards; no test changes it."""
    return made(tmp_path_factory.mktemp("whole") / request.param, request.param)


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "set"))
