"""That requests are signed as botocore signs them."""

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.utils import percent_encode
from hypothesis import given
from hypothesis import strategies as st

from pipeline.storage.s3_signature import signed_headers

printable = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=20)


@given(
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    server=st.sampled_from(
        ["http://127.0.0.1:7480", "https://b.s3.eu-central-1.amazonaws.com", "http://host", "https://[::1]:9000"]
    ),
    version=st.one_of(st.none(), printable),
    secret=printable,
    token=st.one_of(st.none(), printable),
    region=st.sampled_from(["us-east-1", "default", "eu-central-1"]),
)
def test_the_signature_is_botocores(
    key: str, server: str, version: str | None, secret: str, token: str | None, region: str
) -> None:
    headers = {"Range": "bytes=5-99"} | ({} if version is None else {"If-Match": f'"{version}"'})
    credentials = ReadOnlyCredentials("AKIA", secret, token)
    path = "/bucket/" + percent_encode(key, safe="/~")
    theirs = AWSRequest("GET", server + path, {"User-Agent": "one", **headers})
    S3SigV4Auth(credentials, "s3", region).add_auth(theirs)
    now = datetime.strptime(theirs.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = signed_headers(server.partition("//")[2], path, headers, credentials, region, now)
    assert ours == {name: value for name, value in theirs.headers.items() if name != "User-Agent"}


@pytest.mark.parametrize("changed", ["host", "path", "range", "secret", "region", "day", "second"])
def test_whatever_changes_changes_the_signature(changed: str) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    first = signed_headers("h", "/b/k", {"Range": "bytes=0-1"}, ReadOnlyCredentials("a", "s", None), "r", now)
    second = signed_headers(
        "h2" if changed == "host" else "h",
        "/b/k2" if changed == "path" else "/b/k",
        {"Range": "bytes=0-2" if changed == "range" else "bytes=0-1"},
        ReadOnlyCredentials("a", "s2" if changed == "secret" else "s", None),
        "r2" if changed == "region" else "r",
        now.replace(day=3) if changed == "day" else now.replace(second=6) if changed == "second" else now,
    )
    assert first["Authorization"][-64:] != second["Authorization"][-64:]
