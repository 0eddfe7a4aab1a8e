"""One job script run as a process of its own, its metrics scraped on the way: a step of a longer sequence."""

import json
import random
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, SwissrollError
from pipeline.plans.metrics_port import check_metrics_port
from pipeline.runtime.console import say

JOBS = Path(__file__).parents[2] / "jobs"
SCRAPE_EVERY_S = 0.5
PORTS = range(20_000, 32_000)
"""Neither those that a system gives to connections and servers which name none, nor those of Ray's workers (10002 to 19999)."""
PORTS_TRIED = 20


def run_step(title: str, script: str, *args: object, summary: Path | None = None, scrape: bool = False) -> dict[str, Any]:
    """Runs `python jobs/<script> <args>` with this process's terminal and returns the job's summary.

    Args:
        title: Printed above the command.
        script: File name in jobs/.
        args: Command line.
        summary: File the job writes its outcome to; training that finds everything done leaves one of an earlier time.
        scrape: Whether to read the job's Prometheus endpoint while it runs and to say what was there last.

    Raises:
        SwissrollError: The job did not end with exit code 0.
    """
    command = [sys.executable, str(JOBS / script), *map(str, args)]
    port = _free_port() if scrape else None
    if summary is not None:
        command += ["--summary", str(summary)]
    if port is not None:
        command += ["--metrics-port", str(port)]
    say(f"\n== {title} ==\n$ {' '.join(['python', f'jobs/{script}', *command[2:]])}")
    with _Scraper(port) as scraper:
        code = subprocess.run(command, check=False).returncode
    if code:
        raise SwissrollError(f"{title.strip()}: jobs/{script} ended with exit code {code}")
    if scraper.last:
        say(f"  metrics scraped {scraper.count} times, last: {', '.join(scraper.interesting())}")
    return json.loads(summary.read_text()) if summary is not None and summary.exists() else {}


class _Scraper:
    """Reads a Prometheus endpoint twice a second for the length of a block."""

    def __init__(self, port: int | None) -> None:
        self._url = None if port is None else f"http://127.0.0.1:{port}/metrics"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self.last = ""
        self.count = 0

    def __enter__(self) -> "_Scraper":
        if self._url is not None:
            self._thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._done.set()
        if self._url is not None:
            self._thread.join()

    def interesting(self) -> list[str]:
        """Returns the counters and the loss of the last scrape, as the endpoint wrote them."""
        wanted = ("_images_", "_train_loss", "_parts_committed_total", "_data_wait_seconds_total")
        return [line for line in self.last.splitlines() if line.startswith("swissroll") and any(w in line for w in wanted)]

    def _follow(self) -> None:
        assert self._url is not None
        while not self._done.wait(SCRAPE_EVERY_S):
            try:
                with urllib.request.urlopen(self._url, timeout=5) as answer:
                    self.last = answer.read().decode()
                    self.count += 1
            except OSError:
                continue  # not serving yet, or not any more


def _free_port() -> int:
    """A port that nothing serves on, and that nothing is given before the job serves on it, which takes it many seconds."""
    refused: ConfigError | None = None
    for port in random.SystemRandom().sample(PORTS, PORTS_TRIED):
        try:
            check_metrics_port(port)
        except ConfigError as error:
            refused = error
        else:
            return port
    raise SwissrollError(f"none of {PORTS_TRIED} ports from {PORTS[0]} to {PORTS[-1]} can be used; the last: {refused}")
