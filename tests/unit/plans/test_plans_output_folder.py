"""Where a job writes, as the user spelled it."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.plans.output_folder import SUBMITTED_JOB_VARIABLE, output_url


@pytest.mark.parametrize("scheme", ["", "file://", "FILE://", "local://"])
def test_a_local_url_is_the_path_that_it_names_in_a_submitted_job_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv(SUBMITTED_JOB_VARIABLE, "{}")
    assert output_url("--output", f"{scheme}{tmp_path}/out") == f"{tmp_path}/out"
    with pytest.raises(ConfigError, match="--output is the relative path"):
        output_url("--output", f"{scheme}out")
