"""Random numbers that belong to a sample: a counter-based generator, Philox4x32-10, in tensor operations.

A stateful generator gives numbers by the order of asking, so they change with the batch size, the rank and the retry.
Here every number is a function of (seed, purpose, sample, step, position) alone: the key is a hash of seed and purpose,
the counter is (sample low word, sample high word, step, block of four values). The integers are the same on every
device; the normals are computed in float64 and rounded to float32 at the end, so devices can differ in the last float32
bit of a value and in nothing else.

Ref: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Philox4x32-10).
"""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import ConfigError

Key = tuple[int, int]
"""Two 32-bit words."""

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1
_ROUNDS = 10


def stream_key(seed: int, purpose: str) -> Key:
    """Philox key of one stream of random numbers: two words of a BLAKE2b hash of seed and purpose.

    A hash and never seed + something: with sums, seed 1 of one purpose would repeat seed 0 of the next.

    Args:
        seed: The run's seed, any integer.
        purpose: What the numbers are for, such as "noise" or "timestep".
    """
    text = f"{seed}\0{purpose}".encode()
    digest = hashlib.blake2b(text, digest_size=8, person=b"swissroll/noise").digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox4x32(counter: Tensor, key: Key) -> Tensor:
    """Philox4x32-10 of each counter: int64 [..., 4], every entry a 32-bit word in [0, 2^32).

    Args:
        counter: int64 [..., 4], 32-bit words.
        key: Two 32-bit words.
    """
    return torch.stack(_philox(counter.unbind(-1), key), dim=-1)


def uniform(key: Key, sample: Tensor, step: int | Tensor, shape: tuple[int, ...]) -> Tensor:
    """Uniform numbers, float32 [B, *shape] in [0, 1), multiples of 2^-24.

    Args:
        key: The stream, from `stream_key`.
        sample: int64 [B], sample indices; the result lies on its device.
        step: Place in time (epoch, sampler step), in [0, 2^32): one integer or int64 [B].
        shape: Shape of what belongs to one sample; () gives [B].

    Raises:
        ConfigError: An integer step is outside [0, 2^32).
    """
    words = torch.stack(_words(key, sample, step, math.prod(shape)), dim=-1)
    # A float32 holds 24 bits: rounding all 32 could reach 1.
    return _first_values((words >> 8).to(torch.float32) * 2.0**-24, sample, shape)


def octets(key: Key, sample: Tensor, step: int | Tensor, shape: tuple[int, ...]) -> Tensor:
    """Uniform bytes, uint8 [B, *shape]: sixteen a block, where coarse numbers do and many are wanted.

    Args:
        key: The stream, from `stream_key`.
        sample: int64 [B], sample indices; the result lies on its device.
        step: Place in time (epoch, sampler step), in [0, 2^32): one integer or int64 [B].
        shape: Shape of what belongs to one sample; () gives [B].

    Raises:
        ConfigError: An integer step is outside [0, 2^32).
    """
    words = _words(key, sample, step, -(-math.prod(shape) // 4))
    parts = [((word >> shift) & 0xFF).to(torch.uint8) for word in words for shift in (0, 8, 16, 24)]
    return _first_values(torch.stack(parts, dim=-1), sample, shape)


def normal(key: Key, sample: Tensor, step: int | Tensor, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers, float32 [B, *shape], at most 6.66 in size (Box and Muller's transform in float64).

    Args:
        key: The stream, from `stream_key`.
        sample: int64 [B], sample indices; the result lies on its device.
        step: Place in time (epoch, sampler step), in [0, 2^32): one integer or int64 [B].
        shape: Shape of what belongs to one sample; () gives [B].

    Raises:
        ConfigError: An integer step is outside [0, 2^32).
    """
    word0, word1, word2, word3 = _words(key, sample, step, math.prod(shape))
    values = torch.stack([*_box_muller(word0, word1), *_box_muller(word2, word3)], dim=-1)
    return _first_values(values, sample, shape)


def integers(key: Key, sample: Tensor, step: int | Tensor, low: int, high: int) -> Tensor:
    """Uniform integers, int64 [B] in [low, high), one a sample; the bias is below (high - low) / 2^64.

    Args:
        key: The stream, from `stream_key`.
        sample: int64 [B], sample indices; the result lies on its device.
        step: Place in time, in [0, 2^32): one integer or int64 [B].
        low: Smallest value.
        high: One past the largest value; high - low in [1, 2^31].

    Raises:
        ConfigError: The range is empty or too wide, or an integer step is outside [0, 2^32).
    """
    count = high - low
    if not 1 <= count <= 2**31:
        raise ConfigError(f"integers: got the range [{low}, {high}) of {count} values, expected 1 to 2^31 values")
    high_word, low_word, _, _ = (word[:, 0] for word in _words(key, sample, step, 1))
    # floor(w * count / 2^64) of the 64-bit w = high_word * 2^32 + low_word, without a product above 2^63.
    return low + ((high_word * count + (low_word * count >> 32)) >> 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The randomness of one batch: what is drawn for a sample depends on seed, purpose, epoch and sample only.

    The same sample of the same epoch gets the same numbers in a batch of 8, in two batches of 4, and on any rank.
    """

    seed: int
    """The run's seed."""
    samples: Tensor
    """int64 [B], index of each sample in the data set; its device is the device of what is drawn."""
    epochs: Tensor
    """int64 [B], epoch of each sample, in [0, 2^32)."""

    def __post_init__(self) -> None:
        for name, value in (("samples", self.samples), ("epochs", self.epochs)):
            if value.dtype != torch.int64 or value.dim() != 1:
                raise ConfigError(f"Draws.{name}: got {value.dtype} of shape {tuple(value.shape)}, expected int64 of shape [B]")
        if self.samples.shape != self.epochs.shape:
            raise ConfigError(
                f"Draws: got {len(self.samples)} samples and {len(self.epochs)} epochs, expected one epoch a sample"
            )

    def normal(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers, float32 [B, *shape]."""
        return normal(stream_key(self.seed, purpose), self.samples, self.epochs, shape)

    def uniform(self, purpose: str, shape: tuple[int, ...] = ()) -> Tensor:
        """Uniform numbers, float32 [B, *shape] in [0, 1)."""
        return uniform(stream_key(self.seed, purpose), self.samples, self.epochs, shape)

    def octets(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Uniform bytes, uint8 [B, *shape]."""
        return octets(stream_key(self.seed, purpose), self.samples, self.epochs, shape)

    def integers(self, purpose: str, low: int, high: int) -> Tensor:
        """Uniform integers, int64 [B] in [low, high)."""
        return integers(stream_key(self.seed, purpose), self.samples, self.epochs, low, high)


def _words(key: Key, sample: Tensor, step: int | Tensor, values: int) -> tuple[Tensor, ...]:
    """Four tensors of words, int64 [B, blocks], enough for `values` words a sample."""
    if isinstance(step, int) and not 0 <= step <= _WORD:
        raise ConfigError(f"noise: got step {step}, expected 0 to 2^32 - 1")
    blocks = torch.arange(-(-values // 4), device=sample.device)[None, :]
    sample = sample[:, None]
    steps = torch.full_like(sample, step) if isinstance(step, int) else step[:, None]
    # Sample and step stay columns: the first rounds work on [B, 1] until the block's word has spread everywhere.
    return torch.broadcast_tensors(*_philox((sample & _WORD, (sample >> 32) & _WORD, steps & _WORD, blocks), key))


def _philox(counter: tuple[Tensor, ...], key: Key) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    word0, word1, word2, word3 = counter
    key0, key1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(_MULTIPLIERS[0], word0)
        high1, low1 = _multiply(_MULTIPLIERS[1], word2)
        word0, word1, word2, word3 = high1 ^ word1 ^ key0, low1, high0 ^ word3 ^ key1, low0
        key0, key1 = (key0 + _KEY_STEPS[0]) & _WORD, (key1 + _KEY_STEPS[1]) & _WORD
    return word0, word1, word2, word3


def _multiply(constant: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """High and low word of the 64-bit product; in 16-bit halves, because int64 has only 63 bits to offer."""
    upper, lower = (word >> 16) * constant, (word & 0xFFFF) * constant
    upper = upper + (lower >> 16)
    return upper >> 16, ((upper & 0xFFFF) << 16) | (lower & 0xFFFF)


def _box_muller(word_radius: Tensor, word_angle: Tensor) -> tuple[Tensor, Tensor]:
    # The radius takes u in (0, 1], whose logarithm is finite.
    radius = ((word_radius + 1).to(torch.float64) * 2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = word_angle.to(torch.float64).mul_(2.0**-32 * 2.0 * math.pi)
    return (radius * angle.cos()).to(torch.float32), (radius * angle.sin_()).to(torch.float32)


def _first_values(blocks: Tensor, sample: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The first prod(shape) values of [B, blocks, values of a block] as a contiguous [B, *shape]."""
    return blocks.flatten(1)[:, : math.prod(shape)].reshape(len(sample), *shape)
