"""What a sample set has for people: the dataset card and the contact sheet that it shows; no sample depends on them."""

import re
from collections.abc import Iterable, Mapping

import pyarrow as pa

from pipeline import storage
from pipeline.errors import SwissrollError
from pipeline.samples.card import CARD_NAME, dataset_card
from pipeline.samples.commits import readable_commits
from pipeline.samples.contact_sheet import SHEET_NAME, contact_sheet
from pipeline.samples.manifest import Manifest
from pipeline.samples.quarantine import kept_aside
from pipeline.samples.reading import read_part

FOR_PEOPLE = SHEET_NAME, CARD_NAME
"""Names of both, in the order in which they are put."""
_ROWS_IN_CARD = re.compile(r"^# ([0-9,]+) generated samples$", re.MULTILINE)


def lost_for_people(url: str) -> list[str]:
    """Which of the two a published set has lost: a card that people edited need not show the sheet."""
    card, sheet = (_content(url, name) for name in (CARD_NAME, SHEET_NAME))
    shows_sheet = card is None or f"]({SHEET_NAME})".encode() in card
    return [*([SHEET_NAME] if shows_sheet and sheet is None else []), *([CARD_NAME] if card is None else [])]


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
    first_part = read_part(url, manifest.parts[0])
    sheet = contact_sheet(first_part)
    card = dataset_card(manifest, spec, first_part.schema, sheet=sheet is not None).encode()
    made = {SHEET_NAME: sheet, CARD_NAME: card}
    for name in names:
        there, content = _content(url, name), made[name]
        if content is None or there == content:
            continue
        if there and not (name == CARD_NAME and _is_earlier_card(url, there, manifest, spec, first_part.schema)):
            kept_aside(url, name, there)
        storage.put_replace(storage.join(url, name), content)


def _is_earlier_card(url: str, card: bytes, manifest: Manifest, spec: Mapping[str, object], schema: pa.Schema) -> bool:
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
    return card in [dataset_card(then, spec, schema, sheet=sheet).encode() for sheet in (True, False)]


def _content(url: str, name: str) -> bytes | None:
    there = storage.join(url, name)
    return storage.read_bytes(there) if storage.exists(there) else None
