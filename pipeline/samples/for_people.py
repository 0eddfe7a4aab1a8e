"""What a sample set has for people: the dataset card and the contact sheet that it shows; no sample depends on them."""

import re
from collections.abc import Iterable, Mapping

from pipeline import storage
from pipeline.errors import CorruptDataError, PermanentStorageError, SwissrollError
from pipeline.samples.card import CARD_NAME, dataset_card
from pipeline.samples.commits import readable_commits
from pipeline.samples.contact_sheet import SHEET_NAME, contact_sheet, is_whole_png, show_the_same
from pipeline.samples.manifest import Manifest, load_manifest
from pipeline.samples.quarantine import kept_aside
from pipeline.samples.reading import read_part
from pipeline.samples.run_spec import parse_spec, run_url

FOR_PEOPLE = SHEET_NAME, CARD_NAME
"""Names of both, in the order in which they are put."""
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_ROWS_IN_CARD = re.compile(r"^# ([0-9,]+) generated samples$", re.MULTILINE)


def made_for_people(url: str, manifest: Manifest, spec: Mapping[str, object]) -> dict[str, bytes]:
    """The content of both by their names; no sheet where the samples cannot be shown.

    Args:
        url: The set's folder.
        manifest: The complete set.
        spec: The run's spec.

    Raises:
        CorruptDataError: The first part, which the sheet shows, is damaged.
        StorageError: The store could not be read.
    """
    first_part = read_part(url, manifest.parts[0])
    sheet = contact_sheet(first_part)
    card = dataset_card(manifest, spec, first_part.schema, sheet=sheet is not None).encode()
    return {CARD_NAME: card} if sheet is None else {SHEET_NAME: sheet, CARD_NAME: card}


def damage_for_people(url: str, made: Mapping[str, bytes] | None = None) -> dict[str, str]:
    """What is wrong with the card and the contact sheet of a published set, by their names.

    People may edit the card, and need not show the sheet in it: it is damaged where it is missing, no text, or ends within a
    line of the card that was made. The sheet has to be one of the first samples.

    Args:
        url: The set's folder.
        made: From `made_for_people`; without it a sheet need only be a PNG file, which is proved without reading a part.

    Raises:
        StorageError: The store could not be read.
    """
    card, sheet = (_content(url, name) for name in (CARD_NAME, SHEET_NAME))
    problems: dict[str, str] = {}
    card_problem = _card_problem(card, None if made is None else made.get(CARD_NAME))
    has_sheet = made is None or SHEET_NAME in made
    if sheet is None:
        if has_sheet and (card is None or card_problem or f"]({SHEET_NAME})".encode() in card):
            problems[SHEET_NAME] = "got none, expected the contact sheet of a published set"
    elif not is_whole_png(sheet):
        problems[SHEET_NAME] = f"got {len(sheet)} bytes that are no undamaged PNG file"
    elif made is not None and has_sheet and not show_the_same(sheet, made[SHEET_NAME]):
        problems[SHEET_NAME] = "got another picture than that of the first samples"
    if card_problem:
        problems[CARD_NAME] = card_problem
    return problems


def put_for_people(url: str, manifest: Manifest, spec: Mapping[str, object], names: Iterable[str] = FOR_PEOPLE) -> None:
    """Puts the card and the contact sheet of a set in place, as far as others are there, which readers may hold open.

    What is there is kept in `quarantine/`, as people may have written it, unless it is the card of the same set when it had
    fewer rows.

    Args:
        url: The set's folder.
        manifest: The complete set.
        spec: The run's spec.
        names: Which of the two.

    Raises:
        CorruptDataError: The first part, which the sheet shows, is damaged.
        StorageError: The store could not be read or written.
    """
    made = made_for_people(url, manifest, spec)
    for name in names:
        there, content = _content(url, name), made.get(name)
        if content is None or there == content:
            continue
        if there and not (name == CARD_NAME and _is_earlier_card(url, there, manifest, spec)):
            kept_aside(url, name, there)
        storage.put_replace(storage.join(url, name), content)


def mend_for_people(url: str) -> list[str]:
    """Makes the card and the contact sheet anew where they are damaged; returns what was done, in lines.

    Nothing is done where the manifest, run.json or the first part is missing or damaged.

    Raises:
        StorageError: The store could not be written, or did not answer.
    """
    try:
        manifest, spec = load_manifest(url), parse_spec(storage.read_bytes(run_url(url)), run_url(url))
        made = made_for_people(url, manifest, spec)
    except (CorruptDataError, PermanentStorageError):
        return []
    damaged = [name for name in damage_for_people(url, made) if name in made]
    put_for_people(url, manifest, spec, damaged)
    return [f"{name}: made anew from the ledger" for name in damaged]


def _card_problem(card: bytes | None, made: bytes | None) -> str | None:
    """What is wrong with a card; None for one that people may have edited."""
    if not card:
        return "got none, expected the dataset card of a published set" if card is None else "got an empty dataset card"
    try:
        if odd := _NO_TEXT.search(card.decode()):
            raise ValueError(f"the control character {odd[0]!r}")
    except ValueError as error:
        return f"got {len(card)} bytes that are no text: {error}"
    cut = made is not None and made.startswith(card) and b"\n" not in (card[-1:], made[len(card) : len(card) + 1] or b"\n")
    return f"got the first {len(card)} bytes of the dataset card, expected {len(made or b'')}" if cut else None


def _is_earlier_card(url: str, card: bytes, manifest: Manifest, spec: Mapping[str, object]) -> bool:
    """Whether a card is, to the byte, the one that this set had with as many rows as the card says."""
    shown = _ROWS_IN_CARD.search(card.decode(errors="replace"))
    if shown is None:
        return False
    try:
        rows = int(shown[1].replace(",", ""))
        parts = tuple(record for record in readable_commits(url) if record.last < rows)
        then = Manifest(num_samples=rows, run_sha256=manifest.run_sha256, parts=parts)
    except (SwissrollError, ValueError):
        return False
    return card == made_for_people(url, then, spec).get(CARD_NAME)


def _content(url: str, name: str) -> bytes | None:
    there = storage.join(url, name)
    return storage.read_bytes(there) if storage.is_object(there) else None
