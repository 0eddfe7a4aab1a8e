"""Scraping, relabeling and alerts: parsed always, and shown against a real Prometheus where one is installed."""

import contextlib
import http.client
import json
import random
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from pipeline.telemetry import (
    ALL_METRICS,
    GENERATE_METRICS_PORT,
    IMAGES_STREAMED,
    IMAGES_TRAINED,
    JOB_INFO,
    PORTS_TRIED,
    TARGET_STEPS,
    TRAIN_METRICS_PORT,
    TRAIN_STEP,
    Exporter,
    HubState,
    Tally,
    metrics_of,
)

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "cluster" / "prometheus"
DECLARED = {metric.name: metric for metric in ALL_METRICS}
OWN_LABELS = {"job", "instance"}
"""What Prometheus itself puts on every series."""


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def rules() -> list[dict[str, Any]]:
    return [rule for group in load(PROMETHEUS / "alerts.yml")["groups"] for rule in group["rules"]]


def documented_queries() -> list[str]:
    """The queries in the table of cluster/README.md."""
    rows = [line for line in (ROOT / "cluster" / "README.md").read_text().splitlines() if line.startswith("|")]
    return [query for row in rows for query in re.findall(r"`([^`]*swissroll_[^`]*)`", row)]


def selected_metrics(expression: str) -> set[str]:
    """The metric names that a PromQL expression reads, found by promql-parser."""
    names: set[str] = set()

    def visit(node: object) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name is not None, f"a selector without a name in {expression}"
            names.add(node.name)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return names


def test_the_walk_over_an_expression_finds_every_metric() -> None:
    expression = "sum without (a) (rate(x_total[5m])) / on (b) group_left (c) (y > 0.2) or abs(z) == Inf"
    assert selected_metrics(expression) == {"x_total", "y", "z"}
    with pytest.raises(ValueError, match=r"unclosed|unexpected|invalid"):
        promql_parser.parse("rate(x_total[5m]")


@pytest.mark.parametrize("expression", [rule["expr"] for rule in rules()] + documented_queries())
def test_every_expression_parses_and_reads_only_declared_metrics(expression: str) -> None:
    names = selected_metrics(expression)
    assert names
    assert names <= set(DECLARED)
    # rate and increase mean something for counters only, and a bare counter says little.
    for function, name in re.findall(r"\b(rate|increase|changes)\((\w+)\[", expression):
        assert DECLARED[name].kind == ("gauge" if function == "changes" else "counter")


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_says_which_run_and_uses_labels_that_exist(rule: dict[str, Any]) -> None:
    declared_labels = {label for name in selected_metrics(rule["expr"]) for label in DECLARED[name].labels}
    used = {
        label.strip()
        for group in re.findall(r"\b(?:on|by|without|group_left)\s*\(([^)]*)\)", rule["expr"])
        for label in group.split(",")
    }
    assert used <= declared_labels | OWN_LABELS
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert "run" in shown <= set(JOB_INFO.labels)
    assert rule["labels"]["severity"] in ("warning", "critical")


def test_both_configurations_load_the_alerts_and_the_local_one_scrapes_every_port_a_job_may_take() -> None:
    local, kubernetes = load(PROMETHEUS / "prometheus.yml"), load(PROMETHEUS / "prometheus-kubernetes.yml")
    for configuration in (local, kubernetes):
        assert [(PROMETHEUS / name).is_file() for name in configuration["rule_files"]] == [True]
    (swissroll,) = [job for job in local["scrape_configs"] if job["job_name"] == "swissroll"]
    targets = [target for group in swissroll["static_configs"] for target in group["targets"]]
    starts = (TRAIN_METRICS_PORT, GENERATE_METRICS_PORT)
    assert targets == [f"localhost:{start + offset}" for start in starts for offset in range(PORTS_TRIED)]


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package: prometheus)")
    return found


def test_promtool_accepts_rules_and_configuration() -> None:
    for arguments in (["rules", PROMETHEUS / "alerts.yml"], ["config", PROMETHEUS / "prometheus.yml"]):
        done = subprocess.run([tool("promtool"), "check", *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    tests = Path(__file__).parent / "alerts_test.yml"
    done = subprocess.run([tool("promtool"), "test", "rules", tests], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def free_port() -> int:
    """Not one of those that any process may be given, which another might have before Prometheus does."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no port is free")


@contextlib.contextmanager
def exported_training_job() -> Iterator[int]:
    """The port of a training job that is at step 7 of 100."""
    hub = HubState(metrics_of("train"))
    hub.set_committed(JOB_INFO, 1, job_kind="train", run="run-1", preset="mnist", version="0.1.0")
    hub.set_committed(TARGET_STEPS, 100)
    hub.set_committed(IMAGES_TRAINED, 7 * 64)
    tally = Tally("loader-0", 0)
    tally.add(IMAGES_STREAMED, 512)
    tally.set(TRAIN_STEP, 7)
    hub.report(tally.report())
    exporter = Exporter(hub)
    try:
        yield exporter.serve(0, strict=True)
    finally:
        exporter.stop()


class Server:
    """A running Prometheus, asked over its HTTP API."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url = url
        self.process = process
        self.log = log

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def wait_for(self, query: str, series: int = 1) -> list[dict[str, Any]]:
        """The result of the query as soon as it has this many series; each target has its first scrape at its own time."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if len(result := self.get("/api/v1/query", query=query)["result"]) >= series:
                    return result
            except (OSError, http.client.HTTPException):
                pass  # not listening yet, or not ready: the deadline decides
            time.sleep(0.2)
        raise AssertionError(f"fewer than {series} series for {query}; {self.log.read_text()}")


@contextlib.contextmanager
def running_prometheus(configuration: dict[str, Any], folder: Path) -> Iterator[Server]:
    """A real Prometheus in its own folder with this configuration, scraping every second."""
    configuration["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(PROMETHEUS / name) for name in configuration["rule_files"]]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        tool("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(arguments, stdout=log, stderr=log) as process:
        try:
            yield Server(f"http://{address}", process, folder / "log")
        finally:
            process.terminate()
            process.wait(timeout=30)


def test_a_real_prometheus_scrapes_a_job_and_takes_the_alerts(tmp_path: Path) -> None:
    tool("prometheus")
    configuration = load(PROMETHEUS / "prometheus.yml")
    with exported_training_job() as port:
        for job in configuration["scrape_configs"]:
            if job["job_name"] == "swissroll":
                # The ports of the file may be in use by a real job on this machine.
                job["static_configs"] = [{"targets": [f"localhost:{port}"]}]
        with running_prometheus(configuration, tmp_path) as server:
            (series,) = server.wait_for("swissroll_train_step")
            assert series["metric"] == {"__name__": "swissroll_train_step", "job": "swissroll", "instance": f"localhost:{port}"}
            assert series["value"][1] == "7"
            assert server.wait_for("swissroll_images_streamed_total")[0]["value"][1] == "512"
            assert server.wait_for("swissroll_images_trained_total")[0]["value"][1] == "448"
            (joined,) = server.wait_for("swissroll_target_steps * on (job, instance) group_left (run) swissroll_job_info")
            assert joined["metric"]["run"] == "run-1"
            assert joined["value"][1] == "100"
            loaded = [rule for group in server.get("/api/v1/rules")["groups"] for rule in group["rules"]]
            assert {rule["name"] for rule in loaded} == {rule["alert"] for rule in rules()}
            assert {rule["health"] for rule in loaded} <= {"ok", "unknown"}
            # In OpenMetrics, which Prometheus asks for, the type belongs to the name without _total.
            types = {name.removesuffix("_total"): entry[0]["type"] for name, entry in server.get("/api/v1/metadata").items()}
            for metric in metrics_of("train"):
                assert types[metric.name.removesuffix("_total")] == metric.kind


def discovered(pod: dict[str, Any], node_type: str, port: int) -> list[dict[str, Any]]:
    """What pod discovery says of a pod made by KubeRay: one target a container port, all at the port of this test."""

    def meta(kind: str, values: dict[str, str]) -> dict[str, str]:
        names = {name: re.sub(r"[^a-zA-Z0-9_]", "_", name) for name in values}
        return {f"__meta_kubernetes_pod_{kind}_{names[name]}": value for name, value in values.items()}

    metadata = pod.get("metadata", {})
    # The labels that KubeRay itself puts on its pods.
    labels = {"ray.io/node-type": node_type, "ray.io/is-ray-node": "yes", "ray.io/cluster": "c"} | metadata.get("labels", {})
    common = {"__meta_kubernetes_namespace": "ml", "__meta_kubernetes_pod_name": f"{node_type}-1"}
    return [
        {
            "targets": [f"localhost:{port}"],
            "labels": common
            | meta("label", labels)
            | meta("annotation", metadata.get("annotations", {}))
            | {"__meta_kubernetes_pod_container_port_name": container_port["name"]},
        }
        for container in pod["spec"]["containers"]
        for container_port in container["ports"]
    ]


def test_a_real_prometheus_keeps_the_head_pods_port_and_calls_it_by_the_job(tmp_path: Path) -> None:
    tool("prometheus")
    cluster = load(ROOT / "cluster" / "kuberay" / "train-job.yaml")["spec"]["rayClusterSpec"]
    configuration = load(PROMETHEUS / "prometheus-kubernetes.yml")
    with exported_training_job() as port:
        pods = discovered(cluster["headGroupSpec"]["template"], "head", port)
        for group in cluster["workerGroupSpecs"]:
            pods += discovered(group["template"], "worker", port)
        for job in configuration["scrape_configs"]:
            # Debian builds Prometheus without Kubernetes; a static target may carry the same labels.
            assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
            job["static_configs"] = pods
        with running_prometheus(configuration, tmp_path) as server:
            (series,) = server.wait_for('swissroll_train_step{job="swissroll"}')
            assert series["metric"] == {
                "__name__": "swissroll_train_step",
                "job": "swissroll",
                "instance": "train-mnist",
                "namespace": "ml",
            }
            ray_pods = server.wait_for('up{job="ray"}', series=2)
            assert {pod["metric"]["pod"] for pod in ray_pods} == {"head-1", "worker-1"}
