"""The house keeps its floors: planted imports are refused, rooms are described, files stay small, versions are pinned."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "pipeline").rglob("*.py")) + sorted((ROOT / "jobs").rglob("*.py"))
MAX_LINES = 250


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of everything that the import contracts look at."""
    copy = tmp_path_factory.mktemp("house")
    for name in ("pipeline", "jobs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def lint(house: Path) -> tuple[int, str]:
    """Exit code and text of the import linter, run in a folder as `make check` runs it."""
    linter = Path(sys.executable).with_name("lint-imports")
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    ended = subprocess.run([linter, "--no-cache"], cwd=house, env=env, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_the_clean_copy_is_accepted(house: Path) -> None:
    code, said = lint(house)
    assert code == 0, said
    assert " 0 broken" in said


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        pytest.param("pipeline/samples/part.py", "import pipeline.runtime.hub", "floors", id="upward"),
        pytest.param("pipeline/families/noise.py", "from pipeline.models import Model", "floors", id="upward by one"),
        pytest.param("pipeline/stream/reader.py", "import pipeline.training", "floors", id="sideways"),
        pytest.param("pipeline/storage/retry.py", "from pipeline.telemetry import Tally", "floors", id="sideways below"),
        pytest.param("pipeline/families/vae.py", "import ray", "the maths is pure torch", id="ray in families"),
        pytest.param("pipeline/stream/reader.py", "from ray import ObjectRef", "only runtime knows Ray", id="ray in stream"),
        pytest.param("pipeline/order/plan.py", "import torch", "order is pure", id="torch in order"),
        pytest.param("pipeline/order/cursor.py", "import fsspec", "order is pure", id="storage in order"),
        pytest.param("pipeline/plans/flags.py", "import jobs.train", "the library never imports the jobs", id="jobs in plans"),
        pytest.param("pipeline/attic/__init__.py", '"""A room that stands on no floor."""', "floors", id="unlisted room"),
    ],
)
def test_a_planted_import_is_refused(house: Path, file: str, line: str, contract: str) -> None:
    path = house / file
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    # Inside a function, where an import could hide from people.
    path.write_text(f"{before}\n\ndef _planted() -> None:\n    {line}\n" if before else line + "\n")
    try:
        code, said = lint(house)
    finally:
        if before is None:
            shutil.rmtree(path.parent)
        else:
            path.write_text(before)
    assert code == 1, said
    # The linter stops at a floor plan that is incomplete; otherwise it says which contract broke.
    broken = "attic" if before is None else f"{contract} BROKEN"
    assert broken in said, said


def test_every_room_says_what_lives_there() -> None:
    packages = [path for path in MODULES if path.name == "__init__.py"]
    assert len(packages) > 10
    silent = [str(path.relative_to(ROOT)) for path in packages if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_every_public_function_class_and_module_is_documented() -> None:
    silent = []
    for path in MODULES:
        module = ast.parse(path.read_text())
        silent += [] if ast.get_docstring(module) else [str(path)]
        for holder in [module, *(node for node in module.body if isinstance(node, ast.ClassDef) and node.name[0] != "_")]:
            for node in holder.body:
                named = isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
                if named and not node.name.startswith("_") and not ast.get_docstring(node) and not _overloaded(node):
                    silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert silent == []


def _overloaded(node: ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id in ("overload", "override") for d in node.decorator_list)


def test_no_file_is_longer_than_one_can_see_through() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_exported_names_exist_and_stand_once() -> None:
    for path in MODULES:
        if path.name != "__init__.py" or path.is_relative_to(ROOT / "jobs"):
            continue
        package = import_module(".".join(path.parent.relative_to(ROOT).parts))
        names = getattr(package, "__all__", [])
        assert len(names) == len(set(names)), package.__name__
        assert [name for name in names if not hasattr(package, name)] == [], package.__name__


def test_every_dependency_is_pinned_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    wanted += [Requirement(text) for group in project["optional-dependencies"].values() for text in group]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins)
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    assert len(versions) == len(pins)
    unpinned = [str(r) for r in wanted if not r.specifier.contains(versions.get(canonicalize_name(r.name), "0"))]
    assert unpinned == []
