"""The card and the contact sheet: damage to them is found and mended, and what people wrote is none."""

import io
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sample_makers import SPEC, fill, finished_set

from pipeline.samples import PartRange, SampleSet, verify
from pipeline.samples.contact_sheet import is_whole_png, show_the_same
from pipeline.samples.for_people import mend_for_people


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "set"
    finished_set(str(folder))
    return folder


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "set"))


def files(folder: Path) -> dict[str, bytes]:
    found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return {name: data for name, data in found.items() if not name.startswith("quarantine")}


def png_of(picture: Image.Image, **how: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", **how)
    return file.getvalue()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_in_any_byte_of_the_contact_sheet_is_found_and_mended(whole: Path, damaged: Path, data: st.DataObject) -> None:
    file = damaged / "contact-sheet.png"
    bad = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(bad) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "grow", "insert"])):
        case "flip":
            bad[place] ^= data.draw(st.integers(1, 255))
        case "cut":
            del bad[place:]
        case "grow":
            bad += data.draw(st.binary(min_size=1, max_size=9))
        case _:
            bad.insert(place, data.draw(st.integers(0, 255)))
    file.write_bytes(bad)
    for decode_images in (True, False):
        (problem,) = verify(str(damaged), decode_images=decode_images).problems
        assert problem.startswith("contact-sheet.png: got ")
    assert mend_for_people(str(damaged)) == ["contact-sheet.png: made anew from the ledger"]
    assert files(damaged) == files(whole)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda card: card.unlink(), "README.md: got none, expected the dataset card"),
        (lambda card: card.write_bytes(b""), "README.md: got an empty dataset card"),
        (lambda card: card.write_bytes(card.read_bytes()[:-300] + b"\xff"), "bytes that are no text"),
        (
            lambda card: card.write_bytes(card.read_bytes()[:-300] + bytes(300)),
            "no text: the control character",
        ),
        (lambda card: card.write_bytes(card.read_bytes()[:-7]), "README.md: got the first "),
    ],
)
def test_a_damaged_card_is_found_and_mended(whole: Path, damaged: Path, harm, says: str) -> None:
    card = damaged / "README.md"
    harm(card)
    bad = card.read_bytes() if card.exists() else b""
    (problem,) = verify(str(damaged)).problems
    assert problem.startswith("README.md: ")
    assert says in problem
    assert mend_for_people(str(damaged)) == ["README.md: made anew from the ledger"]
    assert files(damaged) == files(whole)
    assert not bad or (damaged / "quarantine" / "README.md").read_bytes() == bad


@pytest.mark.parametrize("harm", [b"\x89PNG", b"\xff\xfe"])
def test_the_job_mends_what_is_no_picture_or_no_text_without_reading_a_part(whole: Path, damaged: Path, harm: bytes) -> None:
    """A job that finds all parts there ends at once; it mends what it can see by itself."""
    name = "contact-sheet.png" if harm.startswith(b"\x89") else "README.md"
    (damaged / name).write_bytes(harm)
    SampleSet(str(damaged)).publish(25)
    assert files(damaged) == files(whole)
    assert (damaged / "quarantine" / name).read_bytes() == harm


def test_another_picture_is_no_contact_sheet_and_is_kept(whole: Path, damaged: Path) -> None:
    with Image.open(whole / "contact-sheet.png") as sheet:
        other = png_of(sheet.transpose(Image.Transpose.FLIP_TOP_BOTTOM))
    (damaged / "contact-sheet.png").write_bytes(other)
    assert verify(str(damaged)).problems == ("contact-sheet.png: got another picture than that of the first samples",)
    mend_for_people(str(damaged))
    assert files(damaged) == files(whole)
    assert (damaged / "quarantine" / "contact-sheet.png").read_bytes() == other


def test_a_sheet_that_another_version_of_the_libraries_wrote_is_whole(damaged: Path) -> None:
    """It compresses otherwise, and may round a pixel of a JPEG file or of a smaller picture otherwise."""
    file = damaged / "contact-sheet.png"
    with Image.open(file) as sheet:
        again = png_of(sheet.point([value ^ 1 for value in range(256)] * 3), compress_level=1)
    assert again != file.read_bytes()
    file.write_bytes(again)
    assert verify(str(damaged)).ok
    assert mend_for_people(str(damaged)) == []
    assert is_whole_png(again)
    assert not is_whole_png(b"")
    assert not show_the_same(again, b"no picture")
    assert not show_the_same(again, png_of(Image.new("RGB", (3, 3))))


@pytest.mark.parametrize("cut", ["## How it was made", "## How to load it", "\n"])
def test_a_card_that_people_edited_is_no_damage(damaged: Path, cut: str) -> None:
    card = damaged / "README.md"
    for text in ("Mine, without a picture\n", card.read_text().partition(cut)[0]):
        card.write_text(text)
        assert verify(str(damaged)).ok
        assert mend_for_people(str(damaged)) == []
        SampleSet(str(damaged)).publish(25)
        assert card.read_text() == text


def test_the_card_of_a_set_that_grows_is_proved_and_mended_too(damaged: Path) -> None:
    samples = SampleSet(str(damaged))
    samples.open(SPEC, num_samples=40)
    fill(samples, [PartRange(25, 5)])
    before = files(damaged)
    assert verify(str(damaged)).problems == ()
    (damaged / "README.md").unlink()
    (damaged / "contact-sheet.png").write_bytes(b"")
    assert [problem.partition(":")[0] for problem in verify(str(damaged)).problems] == ["contact-sheet.png", "README.md"]
    mend_for_people(str(damaged))
    assert files(damaged) == before
    assert verify(str(damaged)).problems == ()
