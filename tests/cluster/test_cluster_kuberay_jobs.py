"""The RayJobs against KubeRay's own schema made strict, against the jobs' real flags, and against each other."""

import copy
import os
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kuberay_schema import rayjob_validator

from pipeline.telemetry import GENERATE_METRICS_PORT, TRAIN_METRICS_PORT

ROOT = Path(__file__).parents[2]
KUBERAY = ROOT / "cluster" / "kuberay"
FILES = sorted(KUBERAY.glob("*.yaml"))
PORTS = {"train-job.yaml": TRAIN_METRICS_PORT, "generate-job.yaml": GENERATE_METRICS_PORT}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    return rayjob_validator()


def job(name: str) -> dict[str, Any]:
    (document,) = yaml.safe_load_all((KUBERAY / name).read_text())
    return document


def command(document: dict[str, Any]) -> list[str]:
    return shlex.split(document["spec"]["entrypoint"])


def flag(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def container(group: dict[str, Any]) -> dict[str, Any]:
    (only,) = group["template"]["spec"]["containers"]
    return only


def groups(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    cluster = document["spec"]["rayClusterSpec"]
    return {"head": cluster["headGroupSpec"]} | {group["groupName"]: group for group in cluster["workerGroupSpecs"]}


def test_every_file_is_known_to_these_tests() -> None:
    assert {file.name for file in FILES} == set(PORTS)


@pytest.mark.parametrize("name", PORTS)
def test_a_job_has_no_field_that_kuberay_does_not_know(name: str, validator: jsonschema.Draft7Validator) -> None:
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(job(name))]
    assert errors == []


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize(
    ("where", "field", "value"),
    [
        (("spec",), "backofLimit", 3),
        (("spec", "rayClusterSpec"), "enableInTreeAutoscalling", True),
        (("spec", "rayClusterSpec", "headGroupSpec", "template", "spec"), "terminationGracePeriod", 60),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 1, "template", "spec", "containers", 0), "imagePullPolicyy", "Always"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "template", "metadata"), "label", {}),
        (("metadata",), "labelz", {}),
        (("spec",), "backoffLimit", "3"),
        (("spec", "rayClusterSpec"), "rayVersion", 2.6),
        (("spec", "rayClusterSpec", "authOptions"), "mode", "tokens"),
    ],
)
def test_a_planted_mistake_is_refused(
    name: str, where: tuple[str | int, ...], field: str, value: object, validator: jsonschema.Draft7Validator
) -> None:
    document = copy.deepcopy(job(name))
    place: Any = document
    for step in where:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    place[field] = value
    assert any(field in error.message or field in error.json_path for error in validator.iter_errors(document))


@pytest.mark.parametrize("name", PORTS)
def test_the_entrypoint_uses_only_flags_that_the_job_has(name: str) -> None:
    python, script, *arguments = command(job(name))
    assert python == "python"
    # What stands before the first flag is the preset, which decides which flags there are.
    first_flag = next(position for position, argument in enumerate(arguments) if argument.startswith("--"))
    shown = subprocess.run(
        [sys.executable, script, *arguments[:first_flag], "--help"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "300", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    words = set(shown.stdout.replace(",", " ").replace("=", " ").split())
    assert {argument for argument in arguments if argument.startswith("--")} - words == set()


@pytest.mark.parametrize("name", PORTS)
def test_the_metrics_port_is_on_the_head_and_nowhere_else(name: str) -> None:
    document = job(name)
    annotations = groups(document)["head"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/scrape"] == "true"
    assert annotations["prometheus.io/port"] == str(PORTS[name])
    for group_name, group in groups(document).items():
        ports = {port["name"]: port["containerPort"] for port in container(group)["ports"]}
        assert ports.get("swissroll") == (PORTS[name] if group_name == "head" else None)
        # Kubernetes allows 15 characters.
        assert all(len(port) <= 15 for port in ports)


@pytest.mark.parametrize("name", PORTS)
def test_the_workers_asked_for_fit_in_the_gpu_group(name: str) -> None:
    document = job(name)
    gpu = groups(document)["gpu"]
    gpus = gpu["maxReplicas"] * int(container(gpu)["resources"]["limits"]["nvidia.com/gpu"])
    workers = int(flag(command(document), "--num-workers"))
    assert workers <= gpus
    if "--batch-size" in command(document):
        assert int(flag(command(document), "--batch-size")) % workers == 0


@pytest.mark.parametrize("name", PORTS)
def test_all_groups_run_one_image_as_a_plain_user_with_the_store_keys_from_a_secret(name: str) -> None:
    document = job(name)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for group in groups(document).values():
        assert container(group)["image"].endswith(f"/{project['name']}:{project['version']}")
        assert container(group)["workingDir"] == "/opt/swissroll"
        assert container(group)["envFrom"] == [{"secretRef": {"name": "swissroll-s3"}}]
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        # What the version 2 autoscaler asks for.
        assert pod["restartPolicy"] == "Never"
        for resource, limit in container(group)["resources"]["limits"].items():
            assert resource == "cpu" or container(group)["resources"]["requests"][resource] == limit


@pytest.mark.parametrize("name", PORTS)
def test_the_cluster_is_the_tested_ray_with_explicit_authentication_and_a_head_without_work(name: str) -> None:
    cluster = job(name)["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == version("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
