"""Evaluation: how good a model or its samples are, measured by something that did not make them.

bits        bits per dimension of held-out images
classifier  reads which class a sample shows
distances   between two clouds of points
"""

from pipeline.evaluation.bits import BitsMeter, BitsPerDim, spread_over
from pipeline.evaluation.classifier import Classifier, train_classifier
from pipeline.evaluation.distances import sliced_wasserstein

__all__ = ["BitsMeter", "BitsPerDim", "Classifier", "sliced_wasserstein", "spread_over", "train_classifier"]
