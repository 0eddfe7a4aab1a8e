"""KubeRay's own schema of a RayJob, made strict."""

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema

METADATA = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 47},
        "namespace": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
"""The part of Kubernetes' ObjectMeta that a person writes, which the definition leaves open. KubeRay needs short names."""


def strict(schema: Any) -> Any:
    """The schema with unknown fields refused wherever the definition does not expressly keep them.

    A Kubernetes API server drops unknown fields silently, so a misspelled one is just not in force.
    """
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    # A schema, and not the value of `properties` whose keys are field names.
    is_closed_object = schema.get("type") == "object" and isinstance(schema.get("properties"), dict)
    if is_closed_object and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result["additionalProperties"] = False
    return result


def rayjob_validator() -> jsonschema.Draft7Validator:
    """Knows every field of a RayJob, and no other."""
    packed = (Path(__file__).parent / "crds" / "rayjob-v1.schema.json.gz").read_bytes()
    schema = strict(json.loads(gzip.decompress(packed)))
    schema["properties"]["apiVersion"] = {"const": "ray.io/v1"}
    schema["properties"]["kind"] = {"const": "RayJob"}
    schema["properties"]["metadata"] = METADATA
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return jsonschema.Draft7Validator(schema)
