"""What Prometheus sees while a job runs."""

import re
from itertools import pairwise

from conftest import BATCH_SIZE, PART_ROWS, ROWS, STEPS
from job_runs import Scraped
from prometheus_client.parser import text_string_to_metric_families

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def series(text: str) -> Series:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def check_scrapes(scraped: Scraped) -> dict[str, float]:
    """Checks that hold for every job and returns the last value of every series without labels."""
    urls = re.findall(r"^metrics: (http://\S+/metrics)$", scraped.ended.out, re.MULTILINE)
    assert [url.rpartition(":")[2] for url in urls] == [f"{scraped.port}/metrics"]
    seen = [series(text) for text in scraped.scrapes]
    assert len(seen) >= 5
    for before, after in pairwise(seen):
        assert before.keys() <= after.keys(), "a series vanished"
        fallen = [key for key in before if key[0].endswith("_total") and after[key] < before[key]]
        assert not fallen, "a counter fell"
    last = seen[-1]
    assert all(name.startswith("swissroll_") for name, _ in last)
    assert last[next(key for key in last if key[0] == "swissroll_job_info")] == 1
    return {name: value for (name, labels), value in last.items() if not labels}


def test_training(training: Scraped):
    last = check_scrapes(training)
    assert last["swissroll_images_trained_total"] == STEPS * BATCH_SIZE
    assert last["swissroll_images_streamed_total"] >= 0.9 * STEPS * BATCH_SIZE
    assert last["swissroll_train_step"] == last["swissroll_target_steps"] == last["swissroll_checkpoint_step"] == STEPS
    assert 0 < last["swissroll_train_loss"] < 2
    assert last["swissroll_trainer_data_wait_seconds_total"] > 0
    assert last["swissroll_train_step_seconds_total"] > 0
    assert last["swissroll_worker_restarts_total"] == 0


def test_generation(generation: Scraped):
    last = check_scrapes(generation)
    assert last["swissroll_images_generated_total"] == ROWS
    assert last["swissroll_parts_committed_total"] == ROWS / PART_ROWS
    assert last["swissroll_rows_committed_total"] == last["swissroll_target_rows"] == ROWS
    sizes = [file.stat().st_size for file in (generation.folder / "data").iterdir()]
    assert last["swissroll_part_committed_bytes_total"] == sum(sizes)
