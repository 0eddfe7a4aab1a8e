"""Generation: from a model and a specification to the images of any range of sample numbers, without Ray."""

from pipeline.generation.conditions import load_conditions
from pipeline.generation.encode import ImageFormat, encode_png, encoder
from pipeline.generation.kept_checkpoint import (
    checkpoint_is_gone,
    checkpoint_places,
    drop_other_copies,
    find_checkpoint,
    is_there,
    keep_checkpoint,
)
from pipeline.generation.labels import LabelRule, parse_labels
from pipeline.generation.lost_workers import LostWorkers
from pipeline.generation.making import PartMaker
from pipeline.generation.part_deadline import PartDeadline
from pipeline.generation.part_queue import PartQueue
from pipeline.generation.sampling import ImageSampler
from pipeline.generation.spec import GenerationSpec, Layout, Precision
from pipeline.generation.strips import generating_strip, noising_strip

__all__ = [
    "GenerationSpec",
    "ImageFormat",
    "ImageSampler",
    "LabelRule",
    "Layout",
    "LostWorkers",
    "PartDeadline",
    "PartMaker",
    "PartQueue",
    "Precision",
    "checkpoint_is_gone",
    "checkpoint_places",
    "drop_other_copies",
    "encode_png",
    "encoder",
    "find_checkpoint",
    "generating_strip",
    "is_there",
    "keep_checkpoint",
    "load_conditions",
    "noising_strip",
    "parse_labels",
]
