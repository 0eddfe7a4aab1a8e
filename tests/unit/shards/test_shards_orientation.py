"""Every kind of picture is turned as Pillow's `exif_transpose` turns it, whichever decoder takes it and wherever it says so."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from pipeline.errors import CorruptDataError
from pipeline.shards import decode_image
from pipeline.shards.orientation import stated_orientation
from pipeline.shards.png import png_header

ORIENTATION, MAKE, XMP_TAG = 0x0112, 0x010F, 0x02BC
RAW, XMP = "Raw profile type exif", "XML:com.adobe.xmp"
KINDS = [("PNG", mode) for mode in ("RGB", "L", "RGBA", "LA", "P", "1", "I;16")]
KINDS += [("JPEG", mode) for mode in ("RGB", "L", "CMYK")] + [("WEBP", mode) for mode in ("RGB", "RGBA")] + [("AVIF", "RGB")]
KINDS += [("TIFF", mode) for mode in ("RGB", "L", "RGBA", "LA", "P", "1", "I;16", "CMYK")]


def picture(mode: str) -> Image.Image:
    rng = np.random.default_rng(0)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, (12, 20), dtype=np.uint16))
    return Image.fromarray(rng.integers(0, 256, (12, 20, 3), dtype=np.uint8)).convert(mode)


def exif_block(orientation: int | None, order: str = ">") -> bytes:
    exif = Image.Exif()
    exif.endian = order
    exif[MAKE] = "a camera"
    if orientation is not None:
        exif[ORIENTATION] = orientation
    return exif.tobytes()


def packet(orientation: int, form: str = "attribute") -> bytes:
    said = f'tiff:Orientation="{orientation}"/>'
    if form == "element":
        said = f"><tiff:Orientation>{orientation}</tiff:Orientation></rdf:Description>"
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description {said}</rdf:RDF></x:xmpmeta>'.encode()


def raw_profile(exif: bytes) -> str:
    """EXIF as ImageMagick writes it into a PNG."""
    digits = exif.hex()
    return f"\nexif\n{len(exif):8}\n" + "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72)) + "\n"


def encoded(kind: str, mode: str, exif: bytes | None = None, xmp: bytes | None = None, text: PngInfo | None = None) -> bytes:
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    if exif is not None:
        options["exif"] = exif
    if xmp is not None and kind == "PNG":
        text = PngInfo() if text is None else text
        text.add_itxt(XMP, xmp.decode())
    elif xmp is not None and kind == "TIFF":
        tags = Image.Exif()
        if exif is not None:
            tags.load(exif)
        tags[XMP_TAG] = xmp
        options["exif"] = tags
    elif xmp is not None:
        options["xmp"] = xmp
    buffer = io.BytesIO()
    picture(mode).save(buffer, kind, pnginfo=text, **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def turned_by_pillow(data: bytes, stored: np.ndarray) -> np.ndarray:
    """The pixels of the same picture that says nothing, turned by Pillow as it understands `data`."""
    image = Image.fromarray(stored)
    with Image.open(io.BytesIO(data)) as opened:
        image.getexif()[ORIENTATION] = opened.getexif().get(ORIENTATION, 1)
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize(("kind", "mode"), KINDS)
@pytest.mark.parametrize(
    "source", ["EXIF", "XMP", "XMP element", "both", "XMP beside EXIF that does not tell", "XMP beside EXIF that says upright"]
)
def test_every_kind_is_turned_as_pillow_turns_it(kind: str, mode: str, source: str) -> None:
    stored = decode_image(encoded(kind, mode), channels=3)
    for orientation in range(1, 9):
        exif = {"EXIF": orientation, "both": 9 - orientation, "XMP beside EXIF that says upright": 1}.get(source)
        with_exif = exif is not None or source == "XMP beside EXIF that does not tell"
        xmp = None if source == "EXIF" else packet(orientation, "element" if source == "XMP element" else "attribute")
        data = encoded(kind, mode, exif_block(exif) if with_exif else None, xmp)
        expected = turned_by_pillow(data, stored)
        # Pillow sees what was written, except that AVIF has no place for an EXIF that says upright.
        assert kind == "AVIF" or expected.shape[0] == (20 if (exif or orientation) >= 5 else 12)
        np.testing.assert_array_equal(decode_image(data, channels=3), expected)


@pytest.mark.parametrize("mode", [mode for kind, mode in KINDS if kind == "PNG"])
@pytest.mark.parametrize("keyword", [RAW, XMP])
@pytest.mark.parametrize("chunk", ["tEXt", "zTXt", "iTXt", "packed iTXt"])
def test_text_turns_every_kind_of_png(mode: str, keyword: str, chunk: str) -> None:
    stored = decode_image(encoded("PNG", mode), channels=3)
    for orientation in range(1, 9):
        value = raw_profile(exif_block(orientation)) if keyword == RAW else packet(orientation).decode()
        text = PngInfo()
        text.add_text("comment", "nothing", zip=True)
        if "iTXt" in chunk:
            text.add_itxt(keyword, value, "en", "a keyword", zip="packed" in chunk)
        else:
            text.add_text(keyword, value, zip=chunk == "zTXt")
        data = encoded("PNG", mode, text=text)
        assert (png_header(data) is not None) == (mode in ("RGB", "L"))
        expected = turned_by_pillow(data, stored)
        assert expected.shape[0] == (20 if orientation >= 5 else 12)
        np.testing.assert_array_equal(decode_image(data, channels=3), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_exif_in_text_goes_before_xmp(mode: str) -> None:
    stored = decode_image(encoded("PNG", mode), channels=3)
    for exif in (None, 1, 3):
        text = PngInfo()
        text.add_text(RAW, raw_profile(exif_block(exif)))
        data = encoded("PNG", mode, xmp=packet(6), text=text)
        expected = turned_by_pillow(data, stored)
        assert expected.shape[0] == (20 if exif is None else 12)
        np.testing.assert_array_equal(decode_image(data, channels=3), expected)


@pytest.mark.parametrize("mode", ["RGB", "LA"])
@pytest.mark.parametrize("keyword", ["exif", "Raw profile type APP1", "Raw profile type xmp", "xmp"])
def test_other_texts_turn_what_pillow_lets_them_turn(mode: str, keyword: str) -> None:
    text = PngInfo()
    text.add_text(keyword, exif_block(6) if keyword == "exif" else raw_profile(exif_block(6)))
    data = encoded("PNG", mode, text=text)
    expected = turned_by_pillow(data, decode_image(encoded("PNG", mode), channels=3)) if keyword != "xmp" else None
    shape = (12, 20, 3) if expected is None else expected.shape  # Pillow stumbles over a text called xmp
    assert decode_image(data, channels=3).shape == shape == ((20, 12, 3) if keyword == "exif" else (12, 20, 3))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_unusual_exif_is_read_as_pillow_reads_it(kind: str, order: str) -> None:
    stored = decode_image(encoded(kind, "RGB"), channels=3)
    block = exif_block(6, order).removeprefix(b"Exif\0\0")
    short, long = struct.pack(order + "HHIHH", ORIENTATION, 3, 1, 6, 0), struct.pack(order + "HHII", ORIENTATION, 4, 1, 6)
    assert short in block
    for exif in (b"Exif\0\0" * 2 + block, b"Exif\0\0" + block.replace(short, long)):
        data = encoded(kind, "RGB", exif)
        expected = turned_by_pillow(data, stored)
        assert expected.shape[0] == 20
        np.testing.assert_array_equal(decode_image(data, channels=3), expected)


def segments(*bodies: bytes) -> bytes:
    """A JPEG with these APP1 segments."""
    data = encoded("JPEG", "RGB")
    return data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in bodies) + data[2:]


def test_several_blocks_in_a_jpeg_are_taken_as_pillow_takes_them() -> None:
    stored = decode_image(encoded("JPEG", "RGB"), channels=3)
    mark = b"http://ns.adobe.com/xap/1.0/\0"
    more = b"http://ns.adobe.com/xmp/extension/\0"
    cases = {
        (mark + packet(3), mark + packet(6)): 6,
        (mark + packet(6), mark + b"<x/>"): 1,
        (mark + packet(6), exif_block(3)): 3,
        (exif_block(None), exif_block(3)): 1,
        (exif_block(None), mark + packet(6), exif_block(3)): 6,
        (more + packet(6),): 1,
        (mark + packet(0), exif_block(None)): 1,
        (mark + packet(9),): 1,
    }
    for bodies, orientation in cases.items():
        data = segments(*bodies)
        expected = turned_by_pillow(data, stored)
        assert stated_orientation(exif_block(orientation), b"") == orientation
        np.testing.assert_array_equal(decode_image(data, channels=3), expected)
        assert expected.shape[0] == (20 if orientation >= 5 else 12)


PIECES = st.sampled_from(
    [b"tiff:Orientation", b'="', b">", b"6", b"0", b"</tiff:Orientation>", b"\0", b"<x:xmpmeta ", b"\xff\xd8"]
)
DAMAGED = st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=12).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(xmp=DAMAGED)
def test_damaged_xmp_costs_no_jpeg_and_says_what_it_says_to_pillow(xmp: bytes) -> None:
    data = segments(b"http://ns.adobe.com/xap/1.0/\0" + xmp)
    expected = turned_by_pillow(data, decode_image(encoded("JPEG", "RGB"), channels=3))
    np.testing.assert_array_equal(decode_image(data, channels=3), expected)


def with_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    return data[:33] + struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) + data[33:]


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from([b"tEXt", b"zTXt", b"iTXt"]),
    keyword=st.sampled_from([RAW.encode(), XMP.encode()]),
    body=st.one_of(DAMAGED, st.binary(max_size=40), DAMAGED.map(lambda text: b"\1\0\0\0" + zlib.compress(text)[:-5])),
)
def test_damaged_text_costs_no_png(kind: bytes, keyword: bytes, body: bytes) -> None:
    plain = encoded("PNG", "RGB")
    pixels = decode_image(with_chunk(plain, kind, keyword + b"\0" + body), channels=3)
    assert np.array_equal(np.sort(pixels, axis=None), np.sort(decode_image(plain, channels=3), axis=None))


def test_a_text_of_any_length_costs_no_png() -> None:
    long = zlib.compress(packet(6) + bytes(5 << 20))
    data = with_chunk(encoded("PNG", "RGB"), b"iTXt", XMP.encode() + b"\0\1\0\0\0" + long)
    assert decode_image(data, channels=3).shape == (20, 12, 3)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_bit_in_a_text_never_turns_a_png_unnoticed(at: int, bit: int) -> None:
    data = bytearray(encoded("PNG", "L", xmp=packet(6)))
    expected = decode_image(bytes(data), channels=1)
    start = data.index(XMP.encode()) + len(XMP) + 1
    end = data.index(b"IDAT") - 4  # before the length of that chunk, and after the checksum of the text
    data[start + at % (end - start)] ^= 1 << bit
    try:
        found = decode_image(bytes(data), channels=1)
    except CorruptDataError:
        return
    assert np.array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:Metadata Warning:UserWarning")
@pytest.mark.parametrize(("kind", "xmp"), [(2, '<x tiff:Orientation="6"/>'), (3, (1, 2, 3)), (7, b"\xff\0<x"), (1, b"")])
def test_odd_xmp_costs_no_tiff(kind: int, xmp: object) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[XMP_TAG] = kind
    tags[XMP_TAG] = xmp
    buffer = io.BytesIO()
    picture("RGB").save(buffer, "TIFF", tiffinfo=tags)
    np.testing.assert_array_equal(decode_image(buffer.getvalue(), channels=3), np.asarray(picture("RGB")))
