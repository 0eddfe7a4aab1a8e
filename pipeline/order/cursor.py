"""The state of a stream: how far it got, and a fingerprint of what it streams."""

from dataclasses import asdict, dataclass

from pipeline.errors import ConfigError, ResumeMismatch

MAX_CONSUMED = 2**60
"""What no training reaches, and the order still counts to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Everything needed to continue a stream at any number of ranks and loaders."""

    samples_consumed: int
    """Samples handed to training since the start of the run, over all epochs; a multiple of the batch size."""
    fingerprint: str
    """Hex digest of shard sizes, seed, batch size, lanes and window: the order that samples_consumed counts in."""

    def step(self, batch_size: int, fingerprint: str) -> int:
        """Returns the next global batch to deliver.

        Raises:
            ResumeMismatch: The cursor belongs to another order.
            ConfigError: The cursor does not stand between two batches.
        """
        if fingerprint != self.fingerprint:
            raise ResumeMismatch(
                f"the saved position counts in order {self.fingerprint[:12]}, this run's order is {fingerprint[:12]}: "
                "the data, seed, batch size, lanes or window differ"
            )
        if self.samples_consumed % batch_size:
            raise ConfigError(f"the saved position {self.samples_consumed} is not a multiple of the batch size {batch_size}")
        if not 0 <= self.samples_consumed <= MAX_CONSUMED:
            raise ConfigError(f"the saved position is {self.samples_consumed!r:.40}, expected 0 to {MAX_CONSUMED}")
        return self.samples_consumed // batch_size

    @classmethod
    def from_json(cls, values: object) -> "Cursor":
        """Returns the cursor that `to_json` gave.

        Raises:
            ConfigError: It is none.
        """
        if isinstance(values, dict) and values.keys() == {"samples_consumed", "fingerprint"}:
            consumed, fingerprint = values["samples_consumed"], values["fingerprint"]
            if isinstance(consumed, int) and not isinstance(consumed, bool) and isinstance(fingerprint, str):
                return cls(samples_consumed=consumed, fingerprint=fingerprint)
        raise ConfigError(
            f"got {values!r:.200}, expected a saved position: samples_consumed, a number, and fingerprint, a text"
        )

    def to_json(self) -> dict[str, object]:
        """Returns the cursor as a JSON object."""
        return asdict(self)
