"""The noise of a sample: published vectors, a second implementation, independence, and frozen values."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.families.noise import Draws, _box_muller, integers, normal, octets, philox4x32, stream_key, uniform

GOLDEN = Path(__file__).parents[2] / "golden"
WORD = st.integers(0, 2**32 - 1)
KEY = stream_key(0, "test")


def test_philox_gives_the_published_vectors():
    for vector in json.loads((GOLDEN / "philox4x32.json").read_text())["vectors"]:
        counter, key, result = ([int(word, 16) for word in vector[name]] for name in ("counter", "key", "result"))
        assert philox4x32(torch.tensor(counter), (key[0], key[1])).tolist() == result


def philox_of_python_integers(counter: list[int], key: list[int]) -> list[int]:
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 % 2**32, (p0 >> 32) ^ c[3] ^ k[1], p0 % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


@given(st.lists(st.lists(WORD, min_size=4, max_size=4), min_size=1, max_size=5), st.tuples(WORD, WORD))
def test_philox_agrees_with_unbounded_integers(counters, key):
    expected = [philox_of_python_integers(counter, list(key)) for counter in counters]
    assert philox4x32(torch.tensor(counters), key).tolist() == expected


@given(st.integers(-(2**70), 2**70), WORD, st.integers(0, 2**62), st.integers(1, 9))
@settings(max_examples=30)
def test_counter_words_are_sample_low_sample_high_step_block(seed, step, sample, count):
    key = stream_key(seed, "noise")
    words = [
        word for block in range(3) for word in philox_of_python_integers([sample % 2**32, sample >> 32, step, block], list(key))
    ]
    expected = [(word >> 8) / 2**24 for word in words[:count]]
    assert uniform(key, torch.tensor([sample]), step, (count,)).tolist() == [expected]


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=6), st.integers(1, 11), st.integers(1, 11))
@settings(max_examples=50)
def test_a_sample_gets_the_same_numbers_alone_and_in_any_batch(samples, size, other_size):
    together = normal(KEY, torch.tensor(samples), 7, (size,))
    for row, sample in zip(together, samples, strict=True):
        alone = normal(KEY, torch.tensor([sample]), 7, (other_size,))[0]
        shared = min(size, other_size)
        assert torch.equal(row[:shared], alone[:shared])


def test_a_step_for_all_equals_the_same_step_for_each():
    samples = torch.tensor([3, 2**33, 5])
    assert torch.equal(normal(KEY, samples, 9, (2, 3)), normal(KEY, samples, torch.tensor([9, 9, 9]), (2, 3)))
    mixed = normal(KEY, samples, torch.tensor([9, 10, 9]), (2, 3))
    assert torch.equal(mixed[1], normal(KEY, samples[1:2], 10, (2, 3))[0])


def test_shapes_and_types():
    samples = torch.arange(5)
    assert normal(KEY, samples, 0, (3, 2, 2)).shape == (5, 3, 2, 2)
    assert uniform(KEY, samples, 0, ()).shape == (5,)
    assert uniform(KEY, samples, 0, (0,)).shape == (5, 0)
    assert normal(KEY, samples[:0], 0, (4,)).shape == (0, 4)
    assert normal(KEY, samples, 0, (3,)).dtype == uniform(KEY, samples, 0, (3,)).dtype == torch.float32
    assert integers(KEY, samples, 0, 0, 9).dtype == torch.int64


def test_normals_are_normal():
    z = normal(stream_key(1, "noise"), torch.arange(400), 3, (1000,)).double().flatten()
    count = len(z)
    # Five standard errors of the first four moments of N(0, 1).
    for power, moment, variance in ((1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)):
        assert abs(z.pow(power).mean() - moment) < 5.0 * math.sqrt(variance / count)
    distance = kolmogorov_smirnov(torch.special.ndtr(z))
    assert distance < 1.95 / math.sqrt(count)  # exceeded once in a thousand


def test_uniforms_are_uniform():
    u = uniform(stream_key(1, "noise"), torch.arange(400), 3, (1000,)).double().flatten()
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert kolmogorov_smirnov(u) < 1.95 / math.sqrt(len(u))


def kolmogorov_smirnov(u: torch.Tensor) -> float:
    ranks = torch.arange(len(u), dtype=torch.float64) / len(u)
    return float((u.sort().values - ranks).abs().max())


def test_streams_are_independent():
    """Neighboring samples, steps, seeds, purposes and pixels: no correlation beyond five standard errors."""
    size = 50_000
    rows = [normal(stream_key(0, "noise"), torch.tensor([0, 1, 2, 2**32]), 0, (size,))]
    rows += [normal(stream_key(0, "noise"), torch.tensor([0, 1]), step, (size,)) for step in (1, 2)]
    rows += [normal(stream_key(1, "noise"), torch.tensor([0, 1]), 0, (size,))]
    rows += [normal(stream_key(0, "timestep"), torch.tensor([0, 1]), 0, (size,))]
    numbers = torch.cat(rows).double()
    numbers = torch.cat([numbers, numbers[:1].roll(1, dims=1), numbers[:1].roll(2, dims=1), numbers[:1].roll(4, dims=1)])
    off_diagonal = torch.corrcoef(numbers) - torch.eye(len(numbers), dtype=torch.float64)
    assert off_diagonal.abs().max() < 5.0 / math.sqrt(size)


def test_seed_and_purpose_do_not_run_into_each_other():
    keys = [stream_key(seed, purpose) for seed in (0, 1, 11, -1, 2**64) for purpose in ("", "1", "11", "noise", "1noise")]
    assert len(set(keys)) == len(keys)
    assert all(0 <= word < 2**32 for key in keys for word in key)


@given(st.integers(-100, 100), st.integers(1, 2**31))
def test_integers_stay_in_their_range(low, count):
    drawn = integers(KEY, torch.arange(50), 1, low, low + count)
    assert low <= int(drawn.min())
    assert int(drawn.max()) < low + count


def test_integers_are_the_multiply_shift_of_64_bits():
    """Wide ranges, where the low word decides now and then."""
    words = [philox_of_python_integers([sample, 0, 4, 0], list(KEY)) for sample in range(200)]
    for count in (1, 7, 1000, 2**31 - 1, 2**31):
        expected = [((high << 32 | low) * count) >> 64 for high, low, _, _ in words]
        assert integers(KEY, torch.arange(200), 4, 0, count).tolist() == expected


@pytest.mark.parametrize("shape", [(), (5,), (3, 7), (4, 16)])
def test_octets_are_the_bytes_of_the_words(shape):
    count = math.prod(shape)
    for sample, got in zip([0, 7, 2**33 + 5], octets(KEY, torch.tensor([0, 7, 2**33 + 5]), 4, shape), strict=True):
        counters = [[sample % 2**32, sample // 2**32, 4, block] for block in range(-(-count // 16))]
        words = [word for counter in counters for word in philox_of_python_integers(counter, list(KEY))]
        expected = b"".join(word.to_bytes(4, "little") for word in words)[:count]
        assert got.dtype == torch.uint8
        assert got.shape == shape
        assert bytes(got.flatten().tolist()) == expected


def test_no_word_gives_an_infinite_normal():
    radius, angle = torch.tensor([0, 0, 2**32 - 1, 2**31]), torch.tensor([0, 2**32 - 1, 2**31, 2**30])
    first, second = _box_muller(radius, angle)
    largest = math.sqrt(64.0 * math.log(2.0))
    torch.testing.assert_close(first, torch.tensor([largest, largest, 0.0, 0.0]), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(second, torch.tensor([0.0, 0.0, 0.0, math.sqrt(2.0 * math.log(2.0))]), rtol=1e-6, atol=1e-6)


def test_integers_are_uniform():
    counts = torch.bincount(integers(KEY, torch.arange(100_000), 0, 0, 10))
    chi_squared = float(((counts - 10_000.0) ** 2 / 10_000.0).sum())
    assert chi_squared < 27.9  # 9 degrees of freedom: exceeded once in a thousand


def test_draws_follow_seed_purpose_sample_and_epoch_alone():
    draws = Draws(seed=5, samples=torch.tensor([8, 3, 2]), epochs=torch.tensor([0, 1, 0]))
    alone = Draws(seed=5, samples=torch.tensor([3]), epochs=torch.tensor([1]))
    assert torch.equal(draws.normal("noise", (2, 2))[1:2], alone.normal("noise", (2, 2)))
    assert torch.equal(draws.uniform("label-dropout")[1:2], alone.uniform("label-dropout"))
    assert torch.equal(draws.integers("timestep", 1, 1001)[1:2], alone.integers("timestep", 1, 1001))
    assert torch.equal(draws.octets("dropout", (2, 2))[1:2], alone.octets("dropout", (2, 2)))
    others = [
        Draws(seed=6, samples=alone.samples, epochs=alone.epochs),
        Draws(seed=5, samples=alone.samples + 1, epochs=alone.epochs),
        Draws(seed=5, samples=alone.samples, epochs=alone.epochs + 1),
    ]
    assert all(not torch.equal(other.normal("noise", (4,)), alone.normal("noise", (4,))) for other in others)
    assert not torch.equal(alone.normal("other", (4,)), alone.normal("noise", (4,)))


def test_values_are_frozen():
    """A change here changes every run ever made: it needs a new major version, not a new golden file."""
    golden = json.loads((GOLDEN / "sample_noise.json").read_text())
    key = stream_key(golden["seed"], golden["purpose"])
    assert list(key) == golden["key"]
    samples = torch.tensor(golden["samples"])
    assert integers(key, samples, golden["step"], 1, 1001).tolist() == golden["integers_1_1001"]
    assert uniform(key, samples, golden["step"], (3,)).tolist() == golden["uniform"]
    # The last float32 bit may depend on the mathematical library.
    torch.testing.assert_close(normal(key, samples, golden["step"], (6,)), torch.tensor(golden["normal"]), rtol=2e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: normal(KEY, torch.arange(2), -1, (2,)), "step -1"),
        (lambda: uniform(KEY, torch.arange(2), 2**32, ()), f"step {2**32}"),
        (lambda: integers(KEY, torch.arange(2), 0, 5, 5), r"\[5, 5\)"),
        (lambda: integers(KEY, torch.arange(2), 0, 0, 2**31 + 1), "2147483649 values"),
        (lambda: Draws(seed=0, samples=torch.zeros(2), epochs=torch.arange(2)), "Draws.samples: got torch.float32"),
        (lambda: Draws(seed=0, samples=torch.arange(2), epochs=torch.arange(3)), "2 samples and 3 epochs"),
    ],
)
def test_mistakes_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_does_not_matter():
    samples = torch.tensor([0, 1, 2**33 + 5])
    assert torch.equal(uniform(KEY, samples.cuda(), 3, (1000,)).cpu(), uniform(KEY, samples, 3, (1000,)))
    assert torch.equal(integers(KEY, samples.cuda(), 3, 1, 1001).cpu(), integers(KEY, samples, 3, 1, 1001))
    torch.testing.assert_close(
        normal(KEY, samples.cuda(), 3, (1000,)).cpu(), normal(KEY, samples, 3, (1000,)), rtol=2e-7, atol=1e-9
    )
