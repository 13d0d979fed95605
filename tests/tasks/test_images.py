"""Image files as people have them: deep pixels, turned photographs, hidden and linked folders."""

import numpy as np
import pytest
import torch
from PIL import Image

from blocks.graph import ConfigError, compose
from tasks.data.images.arrays import Arrays
from tasks.data.images.decode import open_image, to_tensor
from tasks.data.images.image_folder import Images
from tasks.data.readers.image import ImageReader
from tasks.errors import ArgumentError, SampleError
from tasks.run.check_training import check_batch_norm
from tasks.session.failures import is_mistake

GREY = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7
DEEP = {
    "a.png": (GREY.astype(np.uint16) * 257),
    "a.tif": (GREY.astype(np.uint16) * 257),
    "a.pgm": (GREY.astype(np.int32) * 257),
    "f.tif": (GREY / np.float32(255)),
}


def put(path, count=12, size=(5, 7)):
    path.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", size, (number, 0, 0)).save(path / f"{number}.png")


def reader(span=None):
    return ImageReader(channels=1, height=5, width=7, mean=[0.0], std=[1.0], span=span)


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_pixels_are_those_of_eight_bits(tmp_path, name, channels):
    Image.fromarray(DEEP[name]).save(tmp_path / name)
    seen = to_tensor(open_image(tmp_path / name, channels), channels)
    torch.testing.assert_close(seen, torch.tensor(GREY / 255.0).float().expand(channels, -1, -1))
    (item,) = reader().items(str(tmp_path / name))
    torch.testing.assert_close(item.sample, seen[:1])


def test_big_endian_and_inverted_files_are_scaled(tmp_path):
    big = Image.frombytes("I;16B", (7, 5), (GREY.astype(">u2") * 257).astype(">u2").tobytes())
    big.save(tmp_path / "big.tif")
    Image.fromarray(DEEP["a.tif"]).save(tmp_path / "inverted.tif", tiffinfo={262: 0})
    wanted = torch.tensor(GREY / 255.0).float()[None]
    torch.testing.assert_close(to_tensor(open_image(tmp_path / "big.tif", 1), 1), wanted)
    with Image.open(tmp_path / "inverted.tif") as file:
        kind = file.tag_v2[262]
    seen = to_tensor(open_image(tmp_path / "inverted.tif", 1), 1)
    torch.testing.assert_close(seen, 1 - wanted if kind == 0 else wanted)


def test_an_unknown_range_is_refused_by_name_and_can_be_stated(tmp_path):
    put(tmp_path / "a")
    (tmp_path / "b").mkdir()
    for number in range(4):
        Image.fromarray(GREY.astype(np.int32) * 100 + number).save(tmp_path / "b" / f"{number}.tif")
    with pytest.raises(ArgumentError) as error:
        Images(str(tmp_path), channels=1).read()
    assert str(error.value) == (
        f"{tmp_path}/b/0.tif does not state which values are black and white, nor do 3 more; "
        "got values from 0 to 23803; fits: 8 or 16 bits without a sign, or floating-point "
        "numbers from 0 to 1; "
        "fix: data.span=[0,23803], if these are black and white"
    )
    data = Images(str(tmp_path), channels=1, span=[0, 23800])
    data.read()
    assert ImageReader(**data.reader_arguments()).span == [0, 23800]
    (item,) = reader([0, 23800]).items(str(tmp_path / "b" / "0.tif"))
    torch.testing.assert_close(item.sample, torch.tensor(GREY / 238.0).float()[None])
    (item,) = reader().items(str(tmp_path / "b" / "0.tif"))
    assert (
        item.error == "does not state which values are black and white; got values from 0 to 23800"
    )


def test_nan_is_refused_by_name(tmp_path):
    put(tmp_path / "a")
    put(tmp_path / "b", 4)
    values = DEEP["f.tif"].copy()
    values[1, 2] = np.nan
    Image.fromarray(values).save(tmp_path / "a" / "nan.tif")
    data = Images(str(tmp_path), channels=1)
    data.read()
    assert data.notes == [
        "1 of 17 images are broken and left out: a/nan.tif (has values that are not finite)"
    ]
    (item,) = reader().items(str(tmp_path / "a" / "nan.tif"))
    assert item.error == "has values that are not finite"


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright(tmp_path, kind, orientation):
    upright = Image.fromarray(
        np.kron(np.array([[0, 90], [170, 255], [40, 210]], np.uint8), np.ones((16, 16), np.uint8))
    )
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(tmp_path / f"a.{kind}", exif=exif, quality=95)
    seen = np.asarray(open_image(tmp_path / f"a.{kind}", 1))
    assert seen.shape == (48, 32)
    assert np.abs(seen.astype(int) - np.asarray(upright)).mean() < 4


def test_several_frames_are_told(tmp_path):
    put(tmp_path / "a")
    put(tmp_path / "b", 4)
    frames = [Image.new("L", (7, 5), value) for value in (0, 255)]
    frames[0].save(tmp_path / "a" / "x.gif", save_all=True, append_images=frames[1:])
    data = Images(str(tmp_path))
    data.read()
    assert data.notes == ["1 of 17 images have several frames; the first one is taken"]


def test_hidden_names_are_left_out_and_links_are_followed(tmp_path, capsys):
    put(tmp_path / "set" / "cat" / ".ipynb_checkpoints", 3)
    put(tmp_path / "set" / "dog", 8)
    put(tmp_path / "set" / ".thumbnails", 3)
    put(tmp_path / "elsewhere", 8)
    cat = tmp_path / "set" / "cat"
    (cat / "more").symlink_to(tmp_path / "elsewhere")
    (cat / "more" / "round").symlink_to(cat)
    (cat / "gone").symlink_to(tmp_path / "gone")
    (cat / "Thumbs.db").write_bytes(b"\xd0\xcf")
    data = Images(str(tmp_path / "set"))
    data.read()
    assert data.classes == ["cat", "dog"]
    assert sum(data.sizes().values()) == 16
    assert data.notes == [
        "5 of the files are left out: .thumbnails (hidden), cat/.ipynb_checkpoints (hidden), "
        "cat/Thumbs.db (no image), "
        "cat/gone (a link that leads nowhere), cat/more/round (links to a folder that is read "
        "already)"
    ]
    assert len(list(reader().items(str(tmp_path / "set")))) == 16
    assert "left out 4: .thumbnails (hidden)" in capsys.readouterr().err


@pytest.mark.parametrize("scale", [257, None], ids=["16 bits", "float"])
def test_a_perceptron_learns_deep_images_as_it_learns_eight_bits(tmp_path, scale):
    source = np.random.default_rng(0)
    for place, low in (("dark", 20), ("light", 120)):
        (tmp_path / place).mkdir()
        for number in range(40):
            pixels = source.integers(low, low + 100, (6, 6)).astype(np.uint16)
            values = pixels * scale if scale else pixels.astype(np.float32) / 255
            Image.fromarray(values.astype(np.uint16) if scale else values).save(
                tmp_path / place / f"{number}.tif"
            )
    data = Images(str(tmp_path), size=6, channels=1, workers=0, batch_size=64, crop=1, flip=False)
    data.read()
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(30):
        for batch in data.train_dataloader():
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(batch["image"]), batch["label"]).backward()
            optimizer.step()
    (batch,) = data.test_dataloader()
    assert (network(batch["image"]).argmax(1) == batch["label"]).all()


def test_too_few_images_are_told(tmp_path):
    put(tmp_path / "two" / "a", 1)
    put(tmp_path / "two" / "b", 1)
    told = (
        "too few images of each class for the part val; got 2 images, 2 classes; "
        "fits: three images of a class, or more: one for each part; fix: more images of each class"
    )
    arrays = {"images": np.arange(2 * 35, dtype=np.uint8).reshape(2, 5, 7), "labels": np.arange(2)}
    np.savez(tmp_path / "two.npz", **arrays)
    for data in (Images(str(tmp_path / "two")), Arrays(str(tmp_path / "two.npz"))):
        with pytest.raises(ArgumentError) as error:
            data.read()
        assert str(error.value) == told
    data = Images(str(tmp_path / "two"), val=0.0, test=0.0)
    data.read()
    assert data.sizes() == {"train": 2, "val": 0, "test": 0}


def test_one_class_is_told(tmp_path):
    put(tmp_path / "one" / "a")
    np.savez(tmp_path / "one.npz", images=np.zeros((12, 5, 7), np.uint8), labels=np.full(12, 3))
    for data, told in (
        (
            Images(str(tmp_path / "one")),
            "images of the class a; fits: a folder for each class: one/CLASS/IMAGE",
        ),
        (Arrays(str(tmp_path / "one.npz")), "images of the class 3; fits: two classes or more"),
    ):
        with pytest.raises(ArgumentError) as error:
            data.read()
        assert str(error.value) == f"there is one class only; got 12 {told}"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_breaks_during_training_is_told_without_a_traceback(tmp_path, workers):
    put(tmp_path / "a")
    put(tmp_path / "b")
    (tmp_path / "a" / "3.png").write_bytes(b"no image")
    data = Images(
        str(tmp_path), size=8, check=False, val=0.0, test=0.0, workers=workers, batch_size=24
    )
    data.read()
    with pytest.raises(SampleError) as error:
        list(data.train_dataloader())
    assert str(error.value) == (
        f"{tmp_path}/a/3.png cannot be read: cannot identify image file 3.png\n"
        "  fix       data.check=true leaves out broken files, with a note"
    )
    assert not is_mistake(
        error.value
    )  # a mistake would delete a new run folder, with all that was learned


def test_a_batch_of_one_with_batch_norm_is_told_before_training(tmp_path):
    composed = compose(["model=cnn", "data.batch_size=1"])
    facts = {"image": {"channels": 1, "height": 4, "width": 4}, "classes": 2}
    with pytest.raises(ConfigError) as error:
        check_batch_norm(composed, facts, 1, 100)
    told = str(error.value).splitlines()
    assert told[0] == "the command line: data.batch_size=1  data.batch_size"
    assert told[1:3] == [
        "  batch norm takes the mean over a batch, and a batch has one sample",
        "  got       batch_size=1",
    ]
    assert told[3].startswith("  from      graph.stages.")
    assert told[4:] == [
        "  fits      2 or more",
        "  fix       data.batch_size=16, or a norm of each sample alone: model/norm=layernorm, "
        "model/conv=plain",
    ]
    with pytest.raises(ConfigError, match="one training sample for each process, batch_size=64"):
        check_batch_norm(composed, facts, 64, 1)
    check_batch_norm(composed, facts | {"image": {"channels": 1, "height": 8, "width": 8}}, 1, 100)
    check_batch_norm(composed, facts, 2, 100)
    check_batch_norm(compose(["model=vit"]), facts, 1, 100)


def test_what_is_no_sample_is_counted(tmp_path):
    put(tmp_path / "train" / "a")
    put(tmp_path / "train" / "b")
    put(tmp_path / "more" / "a")
    (tmp_path / "train" / "a" / "0.heic").write_bytes(b"")
    for place in (tmp_path / "train" / "beside.png", tmp_path / "beside.png"):
        Image.new("L", (5, 7)).save(place)
    (tmp_path / "README.md").write_text("", encoding="utf-8")
    data = Images(str(tmp_path))
    data.read()
    assert data.notes == [
        "4 of the files are left out: beside.png (beside train), more (beside train), "
        "train/a/0.heic (no image), train/beside.png (in no class folder)"
    ]


def test_hidden_idx_files_are_left_out(tmp_path):
    grey = np.arange(12 * 35, dtype=np.uint8).reshape(12, 5, 7)
    for name, array in (
        ("train-images-idx3-ubyte", grey),
        ("train-labels-idx1-ubyte", np.arange(12) % 2),
    ):
        head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (tmp_path / name).write_bytes(head + array.astype(np.uint8).tobytes())
        (tmp_path / f"._{name}").write_bytes(b"of a Mac")
    data = Arrays(str(tmp_path))
    data.read()
    assert sum(data.sizes().values()) == 12
    assert data.notes == [
        "2 hidden files are left out: ._train-images-idx3-ubyte, ._train-labels-idx1-ubyte",
    ]


def test_arrays_that_no_scale_fits_are_refused(tmp_path):
    image, label = np.linspace(0, 1, 12 * 35, dtype=np.float32).reshape(12, 5, 7), np.arange(12) % 2
    broken = image.copy()
    broken[[3, 5], 1, 2] = np.nan, np.inf
    file = tmp_path / "a.npz"
    for test, told in (
        (
            (255 * image).astype(np.uint8),
            "the images of its parts differ in type; got train float32, test uint8; fits: one "
            "type; "
            "fix: save the images of all parts with the same type",
        ),
        (
            broken,
            "the test part has values that are not finite; got 2 of 12 images, the first is "
            "number 3; "
            "fits: numbers without NaN and infinity",
        ),
    ):
        np.savez(file, x_train=image, y_train=label, y_test=label, x_test=test)
        with pytest.raises(ArgumentError) as error:
            Arrays(str(file)).read()
        assert str(error.value) == f"{file}: {told}"
    np.savez(file, x_train=image, y_train=label, x_test=image.astype(np.float64), y_test=label)
    Arrays(str(file)).read()
