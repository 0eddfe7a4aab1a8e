import pytest

from pipeline.errors import ConfigError, CorruptDataError
from pipeline.shards import RawSample, decode_label, has_label, image_field


def _sample(**fields: bytes) -> RawSample:
    views = {name.replace("__", "."): memoryview(data) for name, data in fields.items()}
    return RawSample("cat/01", views, "s.tar", 512, memoryview(b""), None)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cls", "jpg"], "jpg"),
        (["webp", "png"], "png"),
        (["seg__png", "jpg"], "jpg"),
        (["seg__png", "cls"], "seg.png"),
        (["a__webp", "a__jpg"], "a.jpg"),
        (["pbm", "cls"], "pbm"),
        (["pnm", "pbm"], "pbm"),
        (["jfif"], "jfif"),
        (["a__jpe", "b__jpg"], "b.jpg"),
    ],
)
def test_the_image_is_found(names: list[str], expected: str) -> None:
    assert image_field(_sample(**dict.fromkeys(names, b"x"))) == expected


def test_no_image_and_two_images_are_named() -> None:
    with pytest.raises(ConfigError, match=r"'cat/01' has the fields cls, txt, expected an image .* in s\.tar"):
        image_field(_sample(cls=b"1", txt=b"x"))
    with pytest.raises(
        ConfigError,
        match=r"'cat/01' has 2 images, left\.png, right\.png, expected one, or to be told which \(image_field; .*image-field\)",
    ):
        image_field(_sample(left__png=b"1", right__png=b"x"))
    assert image_field(_sample(left__png=b"1", right__png=b"x"), "right.png") == "right.png"
    with pytest.raises(ConfigError, match=r"has the fields jpg, expected 'right\.png' \(image_field\), in s\.tar"):
        image_field(_sample(jpg=b"1"), "right.png")


def test_compressed_fields_are_named_as_what_is_not_read() -> None:
    note = r"has {}the fields png\.gz, cls\.gz \(compressed fields, here png\.gz, cls\.gz, are not read\), expected"
    sample = _sample(png__gz=b"x", cls__gz=b"x")
    with pytest.raises(ConfigError, match=note.format("")):
        image_field(sample)
    with pytest.raises(ConfigError, match=note.format("no label: got ")):
        decode_label(sample)


def test_a_sample_without_an_image_is_told_the_flag_that_names_one() -> None:
    with pytest.raises(
        ConfigError, match=r"to be told which field is one \(image_field; when training, --stream\.image-field\)"
    ):
        image_field(_sample(tga=b"x"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"cls": b"7"}, 7),
        ({"cls": b"007\n"}, 7),
        ({"json": b'{"label": 3}'}, 3),
        ({"cls": b"1", "json": b'{"label": 3}'}, 1),
        ({"json": b'{"label": 3, "x": "\xc3\xa9"}'}, 3),
    ],
)
def test_labels(fields: dict[str, bytes], expected: int) -> None:
    assert decode_label(_sample(**fields)) == expected
    assert has_label(_sample(**fields))


@pytest.mark.parametrize(
    "fields", [{"png": b"x"}, {"png": b"x", "json": b"{}"}, {"json": b"[1]"}, {"json": b'{"label": null}'}]
)
def test_a_missing_label_is_named_with_the_fields_present(fields: dict[str, bytes]) -> None:
    assert not has_label(_sample(**fields))
    with pytest.raises(ConfigError, match=rf"'cat/01' has no label: got the fields {', '.join(fields)}, .* in s\.tar"):
        decode_label(_sample(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"cls": b""},
        {"cls": b"-1"},
        {"cls": b"cat"},
        {"cls": b"1.5"},
        {"cls": b"\x80\x04K\x01."},  # a pickled 1, which must not be unpickled
        {"cls": b"9" * 30},
        {"json": b'{"label": "3"}'},
        {"json": b'{"label": -3}'},
        {"json": b'{"label": true}'},
        {"json": b'{"label": 3.0}'},
        {"json": b"{label: 3}"},
        {"json": b"\xff\xfe"},
    ],
)
def test_a_label_that_is_none_is_corrupt(fields: dict[str, bytes]) -> None:
    with pytest.raises(CorruptDataError, match=r"'cat/01' has .*\(s\.tar at byte 512\)"):
        decode_label(_sample(**fields))


def test_json_that_is_nested_without_end_is_damage_and_no_crash() -> None:
    for read in (decode_label, has_label):
        with pytest.raises(CorruptDataError, match="damaged json field"):
            read(_sample(json=b"[" * 200_000))
