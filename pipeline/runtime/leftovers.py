"""Clearing away what killed writers left half written in a job's folder, and in no folder of another job below it."""

from pipeline.storage import join, remove_partials

_OF_A_SET = "data", "commits", "goals", "quarantine", "checkpoint"
_OF_A_RUN = "checkpoints", "snapshots"


def clear_sample_set(output_url: str) -> None:
    """Removes half-written files of a sample set. For the job that holds it, while none of its workers writes.

    Raises:
        StorageError: The file system refused.
    """
    _clear(output_url, _OF_A_SET)


def clear_training_run(run_url: str) -> None:
    """Removes half-written files of a training run. For the job that holds it, while none of its workers writes.

    Raises:
        StorageError: The file system refused.
    """
    _clear(run_url, _OF_A_RUN)


def _clear(url: str, own: tuple[str, ...]) -> None:
    # Other subfolders are not ours: a job on `samples` must not stop the one on `samples/2026-01-31`.
    remove_partials(url)
    for name in own:
        remove_partials(join(url, name), recursive=True)
