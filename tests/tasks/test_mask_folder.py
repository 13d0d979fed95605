"""Images and masks in folders: what is read, how both are changed together, and what is told."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blocks.graph import compose
from tasks.__main__ import main
from tasks.data.masks.mask_folder import MaskFolder
from tasks.errors import ArgumentError, SampleError
from tasks.learn.losses.pixels import IGNORED
from tasks.run import run_folder
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.train import train

HIGH, WIDE = 24, 16


def paint(number: int, high: int = HIGH, wide: int = WIDE) -> tuple[np.ndarray, np.ndarray]:
    """An image whose first channel is 100 times its mask: 0, 1, 2, and 255 in the first row."""
    source = np.random.default_rng(number)
    mask = np.repeat(np.repeat(source.integers(0, 3, (high // 4, wide // 4)), 4, 0), 4, 1)
    image = np.stack([100 * mask, 0 * mask, 0 * mask], -1).astype(np.uint8)
    mask[0] = 255
    return image, mask.astype(np.uint8)


def write(folder: Path, count: int = 10, suffix: str = "", names=("images", "masks")) -> Path:
    for name in names:
        (folder / name / "street").mkdir(parents=True)
    for number in range(count):
        image, mask = paint(number)
        Image.fromarray(image).save(folder / names[0] / "street" / f"{number}.png")
        picture = Image.fromarray(mask)
        if number % 2:
            picture = picture.convert("P")
        picture.save(folder / names[1] / "street" / f"{number}{suffix}.png")
    return folder


def open_data(folder: Path, **options) -> MaskFolder:
    data = MaskFolder(
        str(folder), **{"size": 24, "batch_size": 4, "workers": 0, "flip": True, **options}
    )
    data.read()
    return data


def told(folder: Path, **options) -> ArgumentError:
    with pytest.raises(ArgumentError) as error:
        open_data(folder, **options)
    return error.value


def test_pairs_classes_and_pixels_are_found(tmp_path):
    data = open_data(write(tmp_path / "data"))
    assert data.facts() == {
        "image": {"channels": 3, "height": 24, "width": 24},
        "label": {"height": 24, "width": 24, "dtype": "int"},
        "classes": 3,
    }
    assert data.classes == ["0", "1", "2"]
    assert data.sizes() == {"train": 8, "val": 1, "test": 1}
    names = [name for part in data.sizes() for name in data.names(part)]
    assert sorted(names) == [f"images/street/{number}.png" for number in range(10)]
    assert not data.notes
    wanted = torch.zeros(3, dtype=torch.long)
    for name in data.names("train"):
        mask = np.array(Image.open(tmp_path / "data/masks/street" / Path(name).name))
        wanted += torch.from_numpy(mask[mask < 255].astype(np.int64)).bincount(minlength=3)
    assert data.class_pixels().tolist() == wanted.tolist()


def test_a_mask_is_changed_as_its_image_is(tmp_path):
    """The image shows the class of each pixel, wherever both were cut and mirrored."""
    data = open_data(write(tmp_path / "data", 40), crop=0.3, mean=0.0, std=1.0, size=48)
    seen = ignored = 0
    for batch in data.train_dataloader():
        shown = (batch["image"][:, 0] * 255 / 100).round().long()
        judged = batch["label"] != IGNORED
        assert judged.any()
        ignored += int((~judged).sum())
        # pixels between two classes are mixed in the image
        same = (shown == batch["label"])[judged].float().mean()
        assert same > 0.8
        assert (shown.flip(2) == batch["label"])[judged].float().mean() < same
        seen += len(batch["label"])
    assert seen == 32
    assert ignored > 0
    again = open_data(tmp_path / "data", crop=0.3, mean=0.0, std=1.0, size=48)
    for one, other in zip(data.train_dataloader(), again.train_dataloader(), strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["label"], other["label"])
        break
    for batch in data.test_dataloader():
        mask = paint(int(Path(data.names("test")[0]).stem))[1]
        scaled = Image.fromarray(mask).resize((48, 48), Image.Resampling.NEAREST)
        wanted = torch.from_numpy(np.array(scaled)).long()
        assert torch.equal(batch["label"][0], wanted.masked_fill(wanted == 255, IGNORED))


@pytest.mark.parametrize("order", ["images/{}", "{}/images"])
def test_parts_are_above_or_below(tmp_path, order):
    for part in ("train", "validation", "test"):
        names = order.format(part), order.format(part).replace("images", "masks")
        write(tmp_path / "data", 3, names=names)
    data = open_data(tmp_path / "data")
    assert data.sizes() == {"train": 3, "val": 3, "test": 3}
    assert data.names("val")[0] == f"{order.format('validation')}/street/0.png"


def test_names_values_and_a_suffix_can_be_given(tmp_path):
    write(tmp_path / "data", suffix="_mask")
    data = open_data(
        tmp_path / "data", suffix="_mask", classes=["b", "a"], values=[2, 0], ignore=[255, 1]
    )
    assert data.classes == ["b", "a"]
    mask = data.read_mask(tmp_path / "data/masks/street/0_mask.png")
    plain = paint(0)[1]
    assert ((mask == 0) == (plain == 2)).all()
    assert ((mask == 1) == (plain == 0)).all()
    assert ((mask == IGNORED) == np.isin(plain, (1, 255))).all()
    assert data.reader_arguments()["values"] == [2, 0]


def test_what_is_not_a_pair_is_counted(tmp_path):
    folder = write(tmp_path / "data")
    (folder / "masks/street/0.png").unlink()
    (folder / "images/street/1.png").unlink()
    (folder / "images/street/2.png").write_bytes(b"")
    (folder / "masks/street/3.png").write_bytes(b"no image")
    (folder / "images/notes.txt").write_text("x", encoding="utf-8")
    data = open_data(folder)
    assert sum(data.sizes().values()) == 6
    assert data.notes[0] == (
        "3 of the files are left out: images/notes.txt (no image), images/street/0.png (no mask), "
        "masks/street/1.png (no image)"
    )
    assert data.notes[1] == (
        "2 of 8 pairs are broken and left out: images/street/2.png (empty file), "
        "masks/street/3.png (cannot be read: cannot identify image file 3.png)"
    )


def test_a_mask_of_another_size_is_told(tmp_path):
    folder = write(tmp_path / "data")
    Image.fromarray(paint(4)[1][:8]).save(folder / "masks/street/4.png")
    error = told(folder)
    assert error.problem == "1 of 10 masks have another size than their images"
    assert error.got == "masks/street/4.png is 8x16, images/street/4.png is 24x16"
    assert error.fits == "a mask of the height and width of its image"
    assert error.fix == "scale each mask to its image, to the nearest pixel, or remove the pair"


def test_a_coloured_mask_is_told(tmp_path):
    folder = write(tmp_path / "data")
    Image.fromarray(paint(4)[0]).save(folder / "masks/street/4.png")
    error = told(folder)
    assert error.problem.endswith("4.png is no mask: a mask has one number a pixel")
    assert error.got == "an image of the kind RGB"
    assert error.fix == "write the number of the class of each pixel, not its colour"


def test_a_value_that_is_no_class_is_told(tmp_path):
    folder = write(tmp_path / "data")
    error = told(folder, classes=["a", "b"])
    assert error.problem.endswith("has values that are no class")
    assert (error.got, error.fits) == ("2", "0, 1; ignored: 255")
    assert (
        error.fix == "data.ignore=[255,2], or name a class for each in data.classes and data.values"
    )
    data = open_data(folder, classes=["a", "b"], check=False)
    with pytest.raises(SampleError, match="has values that are no class"):
        list(data.train_dataloader())


def test_black_and_white_masks_need_255(tmp_path):
    folder = write(tmp_path / "data")
    for file in (folder / "masks/street").iterdir():
        mask = np.array(Image.open(file))
        Image.fromarray(np.where(mask == 1, 255, 0).astype(np.uint8)).save(file)
    error = told(folder)
    assert error.problem == "there is one class only"
    assert error.got == "masks with the values [0]; ignored: 255"
    assert error.fix == "data.ignore=null, if 255 is a class"
    assert open_data(folder, ignore=None).classes == ["0", "255"]


def test_what_cannot_be_is_told(tmp_path):
    folder = write(tmp_path / "data")
    assert told(folder, masks="labels").problem == f"{folder}/labels is no folder"
    assert told(folder, masks="labels").got == f"{folder} holds the folders images, masks"
    error = told(folder, suffix="_mask")
    assert error.problem == f"no image of {folder}/images has a mask in {folder}/masks"
    assert told(folder, check=False).argument == "classes"
    assert told(folder, classes=["a", "b"], ignore=1).problem == (
        "a value is both that of a class and ignored"
    )
    assert told(folder, classes=["a"], values=[1, 2]).got == "1 classes, 2 values"
    Image.fromarray(paint(0)[0]).save(folder / "images/street/0.jpg")
    assert told(folder).got == "images/street/0.jpg and images/street/0.png"


@pytest.mark.slow
def test_a_run_learns_is_evaluated_and_writes_masks(tmp_path):
    write(tmp_path / "data", 40)
    words = [
        "model=unet",
        "model.params.width=8",
        "task=segment",
        "data=masks",
        f"data.path={tmp_path / 'data'}",
        "data.size=16",
        "data.batch_size=8",
        "data.workers=0",
        "trainer.max_epochs=8",
        "optimizer.lr=0.01",
        f"runs={tmp_path}",
    ]
    composed = compose(words)
    folder = tmp_path / "run"
    known = run_folder.describe_start(composed.config, words, folder)
    train(composed, folder, run_folder.Record(folder, **known))
    with (folder / "run.json").open(encoding="utf-8") as file:
        tested = json.load(file)["test"]
    again = evaluate_run(open_run(folder), {})
    assert again["test/miou"] == pytest.approx(tested["test/miou"], abs=1e-6)
    assert again["test/miou"] > 0.8
    assert not main(
        ["predict", str(folder), str(tmp_path / "data/images"), "-o", str(tmp_path / "out")]
    )
    masks = sorted((tmp_path / "out").rglob("*.png"))
    assert len(masks) == 40
    with Image.open(masks[0]) as mask:
        assert mask.size == (WIDE, HIGH)
