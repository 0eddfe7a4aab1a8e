"""Whether a store creates objects once is asked of every store, also of one that a folder was copied to."""

import secrets

import pytest

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.runtime.lock import sole_job

NOTE = ("lease", "store-creates-once")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders whose store was asked; `strict` in its name makes it one that does."""
    asked: list[str] = []

    def honours(folder_url: str) -> bool:
        asked.append(folder_url)
        return "strict" in folder_url

    monkeypatch.setattr(storage, "honours_put_once", honours)
    return asked


def test_a_store_is_asked_once_for_a_folder(asked: list[str]):
    folder = f"memory://strict-{secrets.token_hex(4)}/set"
    for _ in range(2):
        with sole_job(folder) as fence:
            assert fence is not None
    assert asked == [folder]


def test_the_answer_of_another_store_counts_nothing(asked: list[str], monkeypatch: pytest.MonkeyPatch):
    first, copied = (f"memory://{kind}-{secrets.token_hex(4)}/set" for kind in ("strict", "lax"))
    with sole_job(first):
        pass
    storage.put_replace(storage.join(copied, *NOTE), storage.read_bytes(storage.join(first, *NOTE)))
    with pytest.raises(ConfigError, match="ignores conditional puts"), sole_job(copied):
        pytest.fail("two jobs could work there")
    assert asked == [first, copied]
    monkeypatch.setattr(storage, "server_of", lambda url: "http://another-server")  # with a bucket of the same name
    with sole_job(first):
        pass
    assert asked == [first, copied, first]
