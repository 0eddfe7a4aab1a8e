"""How long faults are waited out, by a clock that the pauses move on."""

import socket
import ssl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import storage
from pipeline.errors import ConfigError, TransientStorageError
from pipeline.storage import retry
from pipeline.storage.faults import StrangeAnswer
from pipeline.storage.http_client import HttpStatusError
from pipeline.storage.retry import DEFAULT_POLICY, Attempts, retrying


def raising(error: Exception) -> None:
    raise error


def test_pauses_grow_are_jittered_and_bounded(pauses: list[float]):
    policy = storage.RetryPolicy(first_delay_s=1.0, longest_delay_s=8.0, total_s=400.0)
    with pytest.raises(TransientStorageError, match="ConnectionResetError"):
        retrying("read_bytes", "x", lambda: raising(ConnectionResetError()), policy)
    assert len(pauses) > 50
    assert all(0 <= pause <= min(8.0, 2.0**number) for number, pause in enumerate(pauses))
    assert max(pauses) > 4.0
    assert min(pauses[3:]) < 4.0
    assert len(set(pauses)) == len(pauses)


OUTAGES = [ConnectionRefusedError(), HttpStatusError(503, "SlowDown"), HttpStatusError(500, "?"), HttpStatusError(522, "?")]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outage_s=st.floats(0, 119), error=st.sampled_from(OUTAGES), url=st.sampled_from(["/local", "http://web/object"]))
def test_an_outage_shorter_than_the_total_is_survived_however_the_pauses_fall(
    pauses: list[float], outage_s: float, error: Exception, url: str
):
    pauses.clear()
    retry.paces = retry.Paces(retry.time.monotonic)

    def call() -> str:
        if sum(pauses) < outage_s:
            raise error
        return "there"

    assert retrying("read_range", url, call) == "there"
    assert sum(pauses) <= DEFAULT_POLICY.total_s


@pytest.mark.parametrize("error", OUTAGES, ids=str)
def test_a_longer_one_is_given_up_when_the_time_is_over(pauses: list[float], error: Exception):
    with pytest.raises(TransientStorageError, match=r"gave up after \d+ attempts in 120\.\d s"):
        retrying("read_range", "/local", lambda: raising(error))
    assert sum(pauses) == pytest.approx(DEFAULT_POLICY.total_s, abs=1.0)


NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
OTHER_PROTOCOL = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")


@pytest.mark.parametrize("error", [NO_NAME, OTHER_PROTOCOL, StrangeAnswer("got another range")], ids=str)
def test_what_is_more_likely_a_mistake_is_not_waited_for_as_long(pauses: list[float], error: Exception):
    with pytest.raises(TransientStorageError, match="gave up after 8 attempts"):
        retrying("read_range", "/local", lambda: raising(error))
    assert len(pauses) == 7


def test_only_doubtful_attempts_since_the_last_progress_count(pauses: list[float]):
    attempts = Attempts("read_range", "/local", storage.RetryPolicy(doubtful_attempts=3))
    for _ in range(3):
        for error in (ConnectionResetError(), NO_NAME, ConnectionResetError(), NO_NAME):
            attempts.failed(error)
        attempts.progressed()
    attempts.failed(NO_NAME)
    attempts.failed(NO_NAME)
    with pytest.raises(TransientStorageError, match="gave up after 15 attempts"):
        attempts.failed(NO_NAME)


def test_the_total_time_is_bounded(pauses: list[float]):
    policy = storage.RetryPolicy(first_delay_s=0.0, total_s=0.0, fewest_attempts=1)
    with pytest.raises(TransientStorageError, match="gave up after 1 attempts"):
        retrying("read_bytes", "x", lambda: raising(ConnectionResetError()), policy)


def test_three_attempts_are_made_however_long_they_take(pauses: list[float]):
    def hang() -> None:
        pauses.append(200.0)  # which moves the clock on
        raise TimeoutError

    with pytest.raises(TransientStorageError, match=r"gave up after 3 attempts in 60\d\.\d s"):
        retrying("read_range", "/local", hang)


@pytest.mark.parametrize(
    ("field", "value"), [("doubtful_attempts", 0), ("fewest_attempts", 0), ("first_delay_s", -1.0), ("total_s", -0.1)]
)
def test_a_policy_that_cannot_work_is_refused(field: str, value: float):
    with pytest.raises(ConfigError, match=f"RetryPolicy.{field}: got {value}"):
        storage.RetryPolicy(**{field: value})  # type: ignore[arg-type]
