"""A gateway that checks signatures takes the requests that are made after the pattern of botocore's."""

from pipeline import storage
from pipeline.storage import remote


def test_all_requests_but_the_first_are_made_after_its_pattern(root: str):
    names = ["a b+c", "ä€", "100%25", "x?y#z&=", "~(1)!*'", "semi;colon@,$"]
    for name in names:
        storage.put_once(storage.join(root, name), name.encode() * 10)
    storage.read_range(storage.join(root, names[0]), 0, 3)
    fs, _ = remote._open(root)
    asked: list[str] = []
    remote._S3._store(fs).client.meta.events.register("before-call.s3.GetObject", lambda **_: asked.append("botocore"))
    for name in names:
        assert storage.read_range(storage.join(root, name), 2, 9) == (name.encode() * 10)[2:9]
    assert asked == []
