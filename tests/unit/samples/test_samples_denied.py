"""What may not be read is not damaged: `verify` says so and ends, and no repair writes over a file that may be sound."""

from collections.abc import Callable

import pytest
from sample_makers import SPEC, part, rows_of

from pipeline import storage
from pipeline.errors import PermissionDenied
from pipeline.samples import Origin, PartRange, PartSuffix, SampleSet, encode_part, verify
from pipeline.samples.mending import mend_ledger

FILES = ["run.json", "origin.json", "manifest.json", "README.md", "data/part-000000000000", "data/part-000000000010"]
Deny = Callable[[str], None]


@pytest.fixture
def deny(monkeypatch: pytest.MonkeyPatch) -> Deny:
    """Refuses to read what lies under a name, or begins with it, from now on; tests run as root, whom no disk refuses."""

    def refuse(name: str) -> None:
        def read(url: str) -> bytes:
            if url.startswith(name):
                raise PermissionDenied("permission denied", url)
            return read_bytes(url)

        read_bytes = storage.read_bytes
        monkeypatch.setattr(storage, "read_bytes", read)

    return refuse


@pytest.mark.parametrize(
    ("suffix", "name"), [("tar", "data/index.json"), *(("parquet", name) for name in FILES), *(("tar", name) for name in FILES)]
)
def test_a_set_with_a_file_that_may_not_be_read_is_not_called_damaged(
    set_url: str, deny: Deny, suffix: PartSuffix, name: str
) -> None:
    samples = SampleSet(set_url)
    samples.open(SPEC, num_samples=20)
    for span in (PartRange(0, 10), PartRange(10, 10)):
        samples.commit(span.first, encode_part(rows_of(span, keyed=True), SPEC, suffix), span.rows, suffix)
    samples.publish(20)
    Origin(given="g", checkpoint="c").write(set_url)
    assert verify(set_url).ok
    deny(storage.join(set_url, name))
    with pytest.raises(PermissionDenied, match=name.rpartition("/")[2]):
        verify(set_url)


def test_nor_is_a_part_that_nobody_committed(set_url: str, deny: Deny) -> None:
    samples = SampleSet(set_url)
    samples.open(SPEC, num_samples=20)
    samples.commit(0, part(PartRange(0, 10)), 10)
    file = storage.join(samples.data_url, "part-000000000010.parquet")
    storage.put_once(file, part(PartRange(10, 10)))
    assert not verify(set_url).problems
    deny(file)
    for look in (verify, mend_ledger):
        with pytest.raises(PermissionDenied, match="part-000000000010"):
            look(set_url)
    assert storage.exists(file)
