"""The classifier reads real digits that it has not seen, and says the same when asked again."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from pipeline.errors import ConfigError
from pipeline.evaluation import Classifier, train_classifier

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]


@pytest.fixture(scope="module")
def digits() -> Labelled:
    pixels, target = load_digits(return_X_y=True)
    return (np.asarray(pixels) * 15).astype(np.uint8).reshape(-1, 8, 8, 1), np.asarray(target, np.int64)


@pytest.fixture(scope="module")
def classifier(digits: Labelled) -> Classifier:
    images, labels = digits
    return train_classifier(images[:1000], labels[:1000], epochs=12)


def test_held_out_digits_are_read(digits: Labelled, classifier: Classifier) -> None:
    images, labels = digits
    assert classifier.agreement(images[1000:], labels[1000:]) > 0.9


def test_agreement_is_the_share_of_equal_labels(digits: Labelled, classifier: Classifier) -> None:
    images, _ = digits
    read = classifier.read(images[1000:])
    assert read.dtype == np.int64
    assert classifier.agreement(images[1000:], read) == 1.0
    assert classifier.agreement(images[1000:], (read + 1) % 10) == 0.0
    half = np.where(np.arange(len(read)) % 2, read, (read + 1) % 10)
    assert classifier.agreement(images[1000:], half) == pytest.approx(len(read) // 2 / len(read))


def test_reading_does_not_depend_on_what_is_read_together(digits: Labelled, classifier: Classifier) -> None:
    images, _ = digits
    one_by_one = np.concatenate([classifier.read(images[i : i + 1]) for i in range(1000, 1040)])
    assert np.array_equal(one_by_one, classifier.read(images[1000:])[:40])


def test_noise_is_not_read_as_what_was_asked_for(digits: Labelled, classifier: Classifier) -> None:
    """The measure can fail: pictures of nothing agree with their labels by chance only."""
    noise = np.random.default_rng(0).integers(0, 256, (500, 8, 8, 1), dtype=np.uint8)
    assert classifier.agreement(noise, np.arange(500) % 10) < 0.25


def test_the_same_seed_trains_the_same_classifier(digits: Labelled) -> None:
    images, labels = digits
    once, again, other = (
        train_classifier(images[:100], labels[:100], epochs=1, seed=seed).read(images[:200]) for seed in (3, 3, 4)
    )
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_too_few_images_are_refused(digits: Labelled) -> None:
    images, labels = digits
    with pytest.raises(ConfigError, match="at least 50 images, got 49"):
        train_classifier(images[:49], labels[:49])
