"""The Dockerfile copies what exists, lets the build see it, and ends as the user that the pods name."""

import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "cluster" / "image"


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) for each line of the Dockerfile, continued lines joined and comments left out."""
    text = (IMAGE / "Dockerfile").read_text()
    joined = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def sources() -> list[str]:
    return [source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]]


def test_everything_that_is_copied_exists_and_is_not_ignored() -> None:
    rules = [line for line in (IMAGE / "Dockerfile.dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    for source in sources():
        assert (ROOT / source).exists(), source
        matching = [rule for rule in rules if fnmatch(source, rule.removeprefix("!"))]
        assert matching[-1].startswith("!"), source


def test_the_build_installs_the_pinned_versions_and_everything_it_needs_is_copied_first() -> None:
    names = [name for name, _ in instructions()]
    install = next(i for i, (name, rest) in enumerate(instructions()) if name == "RUN" and "pip install" in rest)
    assert "--constraint constraints.txt" in instructions()[install][1]
    assert {"pyproject.toml", "constraints.txt", "pipeline", "jobs"} <= set(sources())
    assert max(i for i, name in enumerate(names) if name == "COPY") < install


def test_python_is_3_11_and_the_image_ends_as_user_1000() -> None:
    assert dict(instructions())["FROM"].startswith("python:3.11")
    assert [rest for name, rest in instructions() if name == "USER"][-1] == "ray"
    (created,) = re.findall(r"useradd --uid (\d+) .*\bray\b", (IMAGE / "Dockerfile").read_text())
    for job in (ROOT / "cluster" / "kuberay").glob("*.yaml"):
        assert f"runAsUser: {created}\n" in job.read_text()
