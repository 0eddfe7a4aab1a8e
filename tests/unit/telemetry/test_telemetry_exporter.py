"""The port serves what the hub knows, moves on when it is taken, and is free again afterwards."""

import random
import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.errors import ConfigError
from pipeline.telemetry import IMAGES_STREAMED, JOB_INFO, PORTS_TRIED, Exporter, HubState, Report, Tally, metrics_of


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody listens on, with at least one free among those that follow."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        yield listener.getsockname()[1]


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def test_a_scrape_shows_the_hub_and_only_the_hub() -> None:
    hub = HubState(metrics_of("train"))
    hub.set_committed(JOB_INFO, 1, job_kind="train", run="a", preset="mnist", version="0")
    exporter = Exporter(hub)
    port = exporter.serve(0, strict=True)
    try:
        tally = Tally("loader-0", 0)
        tally.add(IMAGES_STREAMED, 64)
        hub.report(tally.report())
        first = scrape(port)
        tally.add(IMAGES_STREAMED, 64)
        hub.report(tally.report())
        second = scrape(port)
    finally:
        exporter.stop()
    assert (first[IMAGES_STREAMED.name], second[IMAGES_STREAMED.name]) == (64, 128)
    assert second[JOB_INFO.name] == 1
    assert all(name.startswith("swissroll_") for name in second)


def test_stopping_gives_the_port_back() -> None:
    exporter = Exporter(HubState(metrics_of("train")))
    # Not one of those that any process may be given, which another might have before it is asked for again.
    port = exporter.serve(random.SystemRandom().randrange(20_000, 32_000), strict=False)
    scrape(port)
    exporter.stop()
    exporter.stop()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=10):
        pass
    assert exporter.serve(port, strict=True) == port
    exporter.stop()


def test_a_taken_port_is_named_when_no_other_will_do(taken_port: int) -> None:
    with pytest.raises(ConfigError, match=f"metrics port {taken_port} is taken"):
        Exporter(HubState(metrics_of("train"))).serve(taken_port, strict=True)


def test_a_second_job_takes_a_following_port(taken_port: int) -> None:
    exporter = Exporter(HubState(metrics_of("train")))
    port = exporter.serve(taken_port, strict=False)
    try:
        assert taken_port < port < taken_port + PORTS_TRIED
        assert IMAGES_STREAMED.name in scrape(port)
    finally:
        exporter.stop()


def test_all_ports_taken_names_the_range() -> None:
    # At the very top of the port range the following ports do not exist, so one listener takes them all.
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", 65535))
        listener.listen()
        with pytest.raises(ConfigError, match="metrics ports 65535 to 65535 are all taken"):
            Exporter(HubState(metrics_of("train"))).serve(65535, strict=False)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_exist_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match=f"got metrics port {port}, expected 0 to 65535"):
        Exporter(HubState(metrics_of("train"))).serve(port, strict=False)


def test_scrapes_and_reports_at_once_do_not_disturb_each_other() -> None:
    hub = HubState(metrics_of("train"))
    exporter = Exporter(hub)
    port = exporter.serve(0, strict=True)
    workers, reports = 4, 200

    def work(worker: int) -> None:
        for number in range(1, reports + 1):
            totals = {IMAGES_STREAMED.series(): float(number)}
            hub.report(Report(worker=f"loader-{worker}-{number % 10}", attempt=number, sequence=number, totals=totals))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    seen = [scrape(port)[IMAGES_STREAMED.name] for _ in range(10)]
    for thread in threads:
        thread.join()
    seen.append(scrape(port)[IMAGES_STREAMED.name])
    exporter.stop()
    assert seen == sorted(seen)
    assert seen[-1] == workers * reports * (reports + 1) / 2
