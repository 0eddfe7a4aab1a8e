"""Whether a folder is free for a sample set: somebody's own files must not be written over."""

from pipeline import storage
from pipeline.errors import ConfigError, ResumeMismatch
from pipeline.samples.card import CARD_NAME
from pipeline.samples.contact_sheet import SHEET_NAME
from pipeline.samples.goals import GOALS_NAME, goals_of
from pipeline.samples.run_spec import run_url

_FILES = CARD_NAME, "manifest.json", SHEET_NAME
_FOLDERS = "data", "commits"


def refuse_used_folder(url: str) -> None:
    """Nothing if the folder is a set's, or has nothing under the names that a set writes to; writes nothing.

    A job that was killed before it wrote run.json leaves the lock or lease, its copy of the checkpoint and origin.json, and
    goes on: it writes none of these twice. All other names a set takes only after run.json.

    Args:
        url: The folder.

    Raises:
        ResumeMismatch: There are committed parts without run.json.
        ConfigError: Another name is taken without run.json.
        StorageError: The store could not be asked.
    """
    if storage.exists(run_url(url)):
        return
    taken = [name for name in _FILES if storage.is_taken(storage.join(url, name))]
    taken += [f"{name}/" for name in _FOLDERS if _holds_files(storage.join(url, name))]
    taken += [f"{GOALS_NAME}/"] if goals_of(url).strange else []
    # Looked at again: whoever writes one of these has written run.json before, and another job may just have begun.
    if not taken or storage.exists(run_url(url)):
        return
    mend = "verify.py --repair restores one that was lost"
    if "commits/" in taken:
        raise ResumeMismatch(f"got committed parts without run.json, expected an empty folder or a run's; {mend} ({url})")
    raise ConfigError(
        f"got a folder without run.json that has {', '.join(taken)}, expected none of these names, which a sample set would "
        f"write over; name another output ({url})"
    )


def _holds_files(url: str) -> bool:
    """Whether a folder has files in it, or is none."""
    return bool(storage.list_objects(url, recursive=True)) or (storage.is_taken(url) and not storage.is_folder(url))
