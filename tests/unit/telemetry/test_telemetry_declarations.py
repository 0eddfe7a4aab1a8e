"""The declared metrics keep the Prometheus naming rules; a declaration that does not is refused."""

import shutil
import subprocess
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pipeline import telemetry
from pipeline.telemetry import ALL_METRICS, JOB_INFO, STORAGE_RETRIES, TRAIN_STEP, HubState, Metric, declarations, metrics_of


def test_names_are_unique_and_every_declaration_is_listed() -> None:
    names = [metric.name for metric in ALL_METRICS]
    assert len(set(names)) == len(names)
    declared = {value.name for value in vars(declarations).values() if isinstance(value, Metric)}
    assert declared == set(names)


def test_every_declaration_is_exported_from_the_package() -> None:
    exported = {value for name in telemetry.__all__ if isinstance(value := getattr(telemetry, name), Metric)}
    assert exported == set(ALL_METRICS)


def test_each_job_exports_only_its_own_metrics() -> None:
    train = {metric.name for metric in metrics_of("train")}
    generate = {metric.name for metric in metrics_of("generate")}
    assert "swissroll_images_trained_total" in train - generate
    assert "swissroll_parts_committed_total" in generate - train
    assert "swissroll_job_info" in train & generate
    assert train | generate == {metric.name for metric in ALL_METRICS}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "train_step", "swissroll_"),
        ("name", "swissroll_Train-step", "snake_case"),
        ("kind", "counter", "_total"),
        ("unit", "seconds", "unit seconds"),
        ("help", "The step", "sentence"),
        ("labels", ("job",), "Prometheus"),
        ("labels", ("Worker-Id",), "snake_case"),
        ("jobs", (), "at least one job"),
    ],
)
def test_a_declaration_against_the_rules_is_refused(field: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(TRAIN_STEP, **{field: value})


def test_a_counter_must_add_up() -> None:
    with pytest.raises(ValueError, match="combine sum"):
        replace(STORAGE_RETRIES, combine="max")


def test_series_wants_exactly_the_declared_labels() -> None:
    assert str(STORAGE_RETRIES.series(operation="read")) == 'swissroll_storage_retries_total{operation="read"}'
    with pytest.raises(ValueError, match=r"got labels \[\], expected \['operation'\]"):
        STORAGE_RETRIES.series()
    with pytest.raises(ValueError, match="worker"):
        TRAIN_STEP.series(worker="3")


def exposition() -> bytes:
    hub = HubState(ALL_METRICS)
    for metric in ALL_METRICS:
        if metric.source == "committed":
            hub.set_committed(metric, 1.0, **dict.fromkeys(metric.labels, 'a "quoted" word'))
    registry = CollectorRegistry()
    registry.register(hub)
    return generate_latest(registry)


def test_the_scrape_says_the_declared_name_kind_and_help() -> None:
    # prometheus_client's parser strips _total from a counter's family name.
    families = {family.name: family for family in text_string_to_metric_families(exposition().decode())}
    assert len(families) == len(ALL_METRICS)
    for metric in ALL_METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert all(sample.name == metric.name for sample in family.samples)
    info = families[JOB_INFO.name].samples[0]
    assert info.labels == dict.fromkeys(JOB_INFO.labels, 'a "quoted" word')


def test_promtool_finds_nothing_to_say_about_the_scrape() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package: prometheus)")
    lint = subprocess.run([promtool, "check", "metrics"], input=exposition(), capture_output=True, timeout=60, check=False)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, b"", b"")
