"""ray_cluster.yaml as Ray's own launcher and as EC2's own API definition see it; planted mistakes are refused."""

import copy
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import botocore.loaders
import jsonschema
import pytest
import yaml
from botocore.model import ServiceModel, StructureShape
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]


def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())


def accepted(config: dict[str, Any]) -> dict[str, Any]:
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def test_ray_accepts_the_file() -> None:
    prepared = accepted(cluster())
    assert set(prepared["available_node_types"]) == {"head", "cpu_loader", "gpu"}
    # The project is installed on every node; boto3 is for the head alone.
    assert any("pip install" in command and "constraints.txt" in command for command in prepared["worker_setup_commands"])
    assert len(prepared["head_setup_commands"]) == len(prepared["worker_setup_commands"]) + 1


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ({"max_worker": 6}, "'max_worker' was unexpected"),
        ({"max_workers": "six"}, "'six' is not of type 'integer'"),
        ({"setup_commands": [{"pip": "install"}]}, "is not of type 'string'"),
        ({"available_node_types": {"head": {"resources": {}}}}, "'node_config' is a required property"),
        ({"auth": {"ssh_usr": "ubuntu"}}, "'ssh_usr' was unexpected"),
    ],
)
def test_ray_refuses_a_planted_mistake(planted: dict[str, object], words: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match=words):
        accepted(cluster() | planted)


def test_ray_refuses_a_head_that_is_not_described() -> None:
    with pytest.raises(ValueError, match="must be one of `available_node_types`"):
        accepted(cluster() | {"head_node_type": "haed"})


def test_the_groups_fit_in_the_cluster_and_the_head_takes_no_work() -> None:
    config = cluster()
    kinds = config["available_node_types"]
    assert kinds["head"]["resources"] == {"CPU": 0}
    assert sum(kind.get("max_workers", 0) for kind in kinds.values()) == config["max_workers"]
    assert kinds["gpu"]["resources"]["GPU"] > 0
    assert "GPU" not in kinds["cpu_loader"]["resources"]


def run_instances_shape() -> StructureShape:
    definition = botocore.loaders.Loader().load_service_model("ec2", "service-2")
    shape = ServiceModel(definition).operation_model("RunInstances").input_shape
    assert isinstance(shape, StructureShape)
    return shape


def test_every_node_config_is_a_valid_request_to_ec2() -> None:
    shape = run_instances_shape()
    for name, kind in cluster()["available_node_types"].items():
        # Ray adds the counts when it asks for nodes.
        report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **kind["node_config"]}, shape)
        assert not report.has_errors(), f"{name}: {report.generate_report()}"
    wrong = {"MinCount": 1, "MaxCount": 1, "InstanceTyp": "m7i.xlarge"}
    assert "InstanceTyp" in ParamValidator().validate(wrong, shape).generate_report()


def test_authentication_is_explicit_on_every_node_and_ray_is_pinned_to_the_tested_version() -> None:
    config = cluster()
    for command in config["head_start_ray_commands"] + config["worker_start_ray_commands"]:
        assert "ray start" not in command or "RAY_AUTH_MODE=token ray start" in command
    pins = re.findall(r"ray\[default,train\]==([0-9.]+)", " ".join(config["setup_commands"]))
    assert pins == [version("ray")]


def test_what_the_setup_installs_from_is_shipped() -> None:
    config = cluster()
    assert config["file_mounts"]["/home/ubuntu/swissroll"] == "."
    assert (ROOT / "constraints.txt").is_file()
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] == "swissroll"
