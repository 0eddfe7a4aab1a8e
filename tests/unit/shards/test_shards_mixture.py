import json
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.shards.mixture import load_mixture


def mixture(folder: Path, text: str) -> str:
    file = folder / "mixture.json"
    file.write_text(text)
    return str(file)


def test_weights_are_the_numbers_that_are_written(tmp_path: Path) -> None:
    for weights, whole in (("0.7, 0.3", [7, 3]), ("1e-3, 2.5e-3", [2, 5]), ("1E2, 50", [2, 1]), ("0.1, 0.2", [1, 2])):
        first, second = weights.split(", ")
        url = mixture(tmp_path, f'{{"mixture": {{"a": {first}, "b": {second}}}}}')
        assert [weight for _, _, weight in load_mixture(url)] == whole


@pytest.mark.parametrize(
    "weight", ["1e400", "1e1000000000", "1e-400", "-1.5e400", "0.0", "-0.5", "NaN", "Infinity", '"1"', "true"]
)
def test_what_is_no_weight_is_refused_at_once(tmp_path: Path, weight: str) -> None:
    with pytest.raises(ConfigError, match="weights above 0"):
        load_mixture(mixture(tmp_path, f'{{"mixture": {{"a": {weight}, "b": 1}}}}'))


def test_a_name_with_a_nul_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="NUL byte"):
        load_mixture(mixture(tmp_path, json.dumps({"mixture": {"a\0": 1, "b": 1}})))
