"""What `verify` has found so far."""

from collections import Counter
from dataclasses import dataclass, field

from pipeline.errors import CorruptDataError, PermanentStorageError, PermissionDenied
from pipeline.samples.ledger import PartRecord

_KEPT_PROBLEMS = 100


@dataclass(slots=True)
class Findings:
    """What accumulates over the parts; its size does not grow with the set."""

    problems: list[str] = field(default_factory=list)
    """The first hundred, each in one line."""
    more_problems: int = 0
    """How many more there were."""
    labels: Counter[int | None] = field(default_factory=Counter)
    """Rows by label."""
    image_size: tuple[int, int] | None = None
    """Width and height of the first image, in pixels: all others must be like it."""
    columns: str = ""
    """Columns of the first part: all others must have the same."""
    broken: set[PartRecord] = field(default_factory=set)
    """Committed parts whose bytes are not those that were committed."""

    def add(self, problem: str) -> None:
        """Note one problem."""
        if len(self.problems) < _KEPT_PROBLEMS:
            self.problems.append(problem)
        else:
            self.more_problems += 1

    def add_damage(self, name: str, error: CorruptDataError | PermanentStorageError) -> None:
        """Note what an error says of a file of the set.

        Args:
            name: The file's, in the set.
            error: From reading it.

        Raises:
            PermissionDenied: It may not be read, which is no damage: `repair` would write over a file that may be sound.
        """
        if isinstance(error, PermissionDenied):
            raise error
        self.add(f"{name}: {error}")

    def like(self) -> "Findings":
        """New findings that expect of further parts what these do."""
        return Findings(image_size=self.image_size, columns=self.columns)

    def absorb(self, other: "Findings") -> None:
        """Add what was found in further parts, in their order."""
        for problem in other.problems:
            self.add(problem)
        self.more_problems += other.more_problems
        self.labels.update(other.labels)
        self.broken |= other.broken
        self.image_size = self.image_size or other.image_size
        self.columns = self.columns or other.columns

    def all_problems(self) -> tuple[str, ...]:
        """The problems, and how many were left out."""
        more = (f"and {self.more_problems} more problems",) if self.more_problems else ()
        return (*self.problems, *more)
