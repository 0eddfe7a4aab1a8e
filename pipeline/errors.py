"""Every error the project raises on purpose, classed by who has to act.

    SwissrollError
    ├── ConfigError               the user: mend the command, the configuration or the input
    │   ├── ResumeMismatch        the user: this folder belongs to a run with another configuration
    │   └── ClusterError          the user: the cluster is not there, or has not what the job needs
    ├── CorruptDataError          the owner of the data: a shard, part or checkpoint is not what it should be
    ├── StorageError
    │   ├── TransientStorageError nobody yet: a retry may succeed
    │   └── PermanentStorageError the operator: full disk, no such object
    │       └── PermissionDenied  the operator: it may not be looked at, read or written
    ├── CommitConflict            the operator: two different contents claim one committed name
    └── NoAnswer                  the operator: a process of the job that others need does not answer

Messages say what was got, what was expected and where, in one line. Fields are passed positionally to
`super().__init__` so that every class survives the pickling between Ray processes.
"""


class SwissrollError(Exception):
    """Base of all errors raised on purpose; its text is complete without a traceback."""


class ConfigError(SwissrollError):
    """The command, the configuration or an input cannot work; nothing was started or written."""


class ResumeMismatch(ConfigError):
    """A run or output folder was made with another configuration than the one given now."""


class ClusterError(ConfigError):
    """The Ray cluster does not answer, or lacks what every output of the job needs."""


class CorruptDataError(SwissrollError):
    """Stored bytes are not what they should be.

    Args:
        problem: What was got and what was expected.
        uri: The object that holds the bytes.
        offset: Byte position in the object, where it is known.
    """

    def __init__(self, problem: str, uri: str, offset: int | None = None) -> None:
        super().__init__(problem, uri, offset)
        self.problem = problem
        self.uri = uri
        self.offset = offset

    def __str__(self) -> str:
        where = self.uri if self.offset is None else f"{self.uri} at byte {self.offset}"
        return f"{self.problem} ({where})"


class StorageError(SwissrollError):
    """An operation on a store failed.

    Args:
        problem: What happened, in the store's own words where they help.
        uri: The object or folder concerned.
    """

    def __init__(self, problem: str, uri: str) -> None:
        super().__init__(problem, uri)
        self.problem = problem
        self.uri = uri

    def __str__(self) -> str:
        return f"{self.problem} ({self.uri})"


class TransientStorageError(StorageError):
    """The store did not answer, or asked to come back later; retried with backoff before it is raised."""


class PermanentStorageError(StorageError):
    """The store answered, and the answer will not change: full, forbidden, missing."""


class PermissionDenied(PermanentStorageError):
    """The store says that this may not be done; S3 says so of a missing object, too, to whom it does not show a listing."""


class CommitConflict(SwissrollError):
    """A committed name already holds other content than the content to be committed.

    Args:
        problem: Both contents, by digest or number of rows.
        uri: The committed object.
    """

    def __init__(self, problem: str, uri: str) -> None:
        super().__init__(problem, uri)
        self.problem = problem
        self.uri = uri

    def __str__(self) -> str:
        return f"{self.problem} ({self.uri})"


class NoAnswer(SwissrollError):
    """A process of the job that others need is stuck, out of reach, or could not be started."""
