"""Evaluation: how good samples are, measured by something that did not make them."""

from pipeline.evaluation.classifier import Classifier, train_classifier

__all__ = ["Classifier", "train_classifier"]
