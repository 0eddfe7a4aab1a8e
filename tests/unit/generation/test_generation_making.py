"""Parts from a checkpoint folder."""

from pathlib import Path

import pytest
from generation_models import model, spec

from pipeline.checkpoints import inspect_checkpoint, save_model
from pipeline.errors import ConfigError
from pipeline.generation import PartMaker, making
from pipeline.samples import PartRange
from pipeline.samples.part import rows_in


def maker(folder: Path, **changes: object) -> PartMaker:
    built = model()
    save_model(str(folder), step=1, model=built, averages={0.1: built.network.state_dict()})
    digest = inspect_checkpoint(str(folder)).digest
    return PartMaker(str(folder), spec(checkpoint_digest=digest, ema=0.1, **changes), {})


def test_images_that_no_column_can_hold_together_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = PartRange(0, 8)
    encoding, raw = maker(tmp_path / "a"), maker(tmp_path / "b", image_format="raw")
    images = encoding.sample(part)
    assert rows_in(encoding.encode(part, images), "part.parquet") == 8
    monkeypatch.setattr(making, "MAX_IMAGE_BYTES", 100)
    with pytest.raises(ConfigError, match=r"part_rows: got [0-9,]+ bytes in the 8 images .* at most 100; .*lower --part-rows"):
        encoding.encode(part, images)
    assert rows_in(raw.encode(part, images), "part.parquet") == 8
