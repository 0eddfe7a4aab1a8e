"""A job may make a set larger while it is verified: what it does is no problem, whenever it does it."""

import secrets
from collections.abc import Callable

import pytest
from sample_makers import SPEC, rows_of

from pipeline import storage
from pipeline.samples import PartSuffix, SampleSet, encode_part, open_ranges, verify

Moment = tuple[str, str, bool]
MOMENTS: list[Moment] = [
    *(("list_objects", folder, late) for folder in ("commits", "goals", "data") for late in (False, True)),
    *(("read_bytes", name, late) for name in ("manifest.json", "index.json", "README.md") for late in (False, True)),
]


def grow(url: str, suffix: PartSuffix, num_samples: int, *, publish: bool = True) -> None:
    samples = SampleSet(url)
    samples.open(SPEC, num_samples=num_samples)
    for span in open_ranges(num_samples, 10, samples.committed()):
        samples.commit(span.first, encode_part(rows_of(span), SPEC, suffix), span.rows, suffix)
    if publish:
        samples.publish(num_samples)


@pytest.mark.parametrize("suffix", ["parquet", "tar"])
@pytest.mark.parametrize("publish", [True, False])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_job_that_makes_the_set_larger_meanwhile_is_no_problem(
    moment: Moment, publish: bool, suffix: PartSuffix, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"memory://{secrets.token_hex(8)}/set"
    grow(url, suffix, 20)
    what, name, late = moment
    call: Callable[..., object] = getattr(storage, what)
    met: list[str] = []

    def disturbed(called_url: str, *args: object, **how: object) -> object:
        is_moment = called_url.endswith(f"/{name}") and not met
        if is_moment:
            met.append(called_url)
        if is_moment and not late:
            grow(url, suffix, 40, publish=publish)
        result = call(called_url, *args, **how)
        if is_moment and late:
            grow(url, suffix, 40, publish=publish)
        return result

    monkeypatch.setattr(storage, what, disturbed)
    report = verify(url)
    assert report.problems == ()
    assert report.rows in (20, 40)
    assert bool(met) == (name != "index.json" or suffix == "tar")
    if publish:
        assert verify(url).ok
