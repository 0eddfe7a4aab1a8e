"""Generation: from a model and a specification to the images of any range of sample numbers, without Ray."""

from pipeline.generation.encode import encode_png
from pipeline.generation.labels import parse_labels
from pipeline.generation.sampling import ImageSampler
from pipeline.generation.spec import GenerationSpec
from pipeline.generation.strips import generating_strip, noising_strip

__all__ = ["GenerationSpec", "ImageSampler", "encode_png", "generating_strip", "noising_strip", "parse_labels"]
