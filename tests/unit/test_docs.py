"""What the documents say is there: links, commands, code, rooms, ports."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from jobs.index import IndexCommand
from jobs.pack import PackCommand
from jobs.which import WhichCommand
from pipeline.plans.commands import parse_generate, parse_train, starting_config
from pipeline.plans.flags import parse_flags
from pipeline.shards.mixture import is_mixture, load_mixture
from pipeline.telemetry import GENERATE_METRICS_PORT, TRAIN_METRICS_PORT

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "cluster").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(language: str) -> list[tuple[str, str]]:
    """(document, text) of every block of this language."""
    return [(d.name, text) for d in DOCUMENTS for kind, text in FENCE.findall(d.read_text()) if kind == language]


def job_commands() -> list[tuple[str, list[str]]]:
    """(script, arguments) of every job that a shell block of a document starts."""
    commands = []
    for _, text in fences("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            scripts = [i for i, word in enumerate(words) if word.startswith("jobs/")]
            commands += [(words[i].removeprefix("jobs/"), words[i + 1 :]) for i in scripts]
    return commands


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_every_link_into_the_repository_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_every_file_named_in_the_text_is_there(document: Path) -> None:
    # Modules by their room; of other files those in tests/, as data/ and samples/ are the user's.
    kinds = r"`((?:[\w-]+/)+[\w-]+\.py|tests/[\w./-]+)`"
    named = re.findall(kinds, FENCE.sub("", document.read_text()))
    missing = [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "pipeline", document.parent))]
    assert missing == []


def test_every_job_command_is_one_that_the_job_takes() -> None:
    commands = job_commands()
    assert {"pack.py", "index.py", "train.py", "which.py", "generate.py", "verify.py"} <= {script for script, _ in commands}
    for script, given in commands:
        if script == "train.py":
            parse_train(given)
        elif script == "generate.py":
            parse_generate(given)
        elif script == "index.py":
            parse_flags(IndexCommand, given, IndexCommand(), prog=script)
        elif script == "which.py":
            # The run folder is the user's; the flags are looked at as if a preset had been named.
            default, rest = starting_config(["mnist", *given], script)
            parse_flags(WhichCommand, rest, WhichCommand(job=default), prog=script)
        elif script == "pack.py":
            parse_flags(PackCommand, given, PackCommand(), prog=script)
        else:
            assert (ROOT / "jobs" / script).exists(), script


def test_every_make_target_that_is_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for d in DOCUMENTS for name in re.findall(r"(?:^|`)make ([a-z]+)", d.read_text(), re.MULTILINE)}
    assert {"demo", "test", "check", "bench"} <= named
    assert named <= targets


def test_code_in_the_documents_is_python_that_imports_what_exists() -> None:
    for document, text in fences("python"):
        imported = [node for node in ast.walk(ast.parse(text, document)) if isinstance(node, ast.ImportFrom | ast.Import)]
        for node in imported:
            exec(compile(ast.Module([node], []), document, "exec"), {})


def test_outputs_are_filled_in() -> None:
    empty = [(d.name, text) for d in DOCUMENTS for _, text in FENCE.findall(d.read_text()) if re.fullmatch(r"[A-Z_]+\n", text)]
    assert empty == []


def test_the_floor_plan_is_the_one_that_is_enforced() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    enforced = {len(layers) - i: set(layer.split(" | ")) for i, layer in enumerate(layers)}
    rows = re.findall(r"^\| (\d) \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {int(floor): set(re.findall(r"`(\w+)`", rooms)) for floor, rooms in rows} == enforced


def test_ports_are_the_ones_that_are_served() -> None:
    for document in DOCUMENTS:
        ports = set(re.findall(r"\b9[45]\d\d\b", document.read_text()))
        assert ports <= {str(TRAIN_METRICS_PORT), str(GENERATE_METRICS_PORT)}, document


def test_the_mixture_in_the_documents_is_one_that_is_read(tmp_path: Path) -> None:
    blocks = [text for _, text in fences("json") if "mixture" in text]
    assert blocks
    for number, text in enumerate(blocks):
        (tmp_path / f"{number}.json").write_text(text)
        assert is_mixture(str(tmp_path / f"{number}.json"))
        assert [weight for _, _, weight in load_mixture(str(tmp_path / f"{number}.json"))] == [7, 3]
