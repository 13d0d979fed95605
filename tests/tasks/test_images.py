"""Image files as people have them: deep pixels, turned photographs, hidden and linked folders."""

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.data.image_reader import ImageReader
from tasks.data.images import Images
from tasks.data.picture import as_tensor, opened
from tasks.errors import ArgumentError

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
    seen = as_tensor(opened(tmp_path / name, channels), channels)
    torch.testing.assert_close(seen, torch.tensor(GREY / 255.0).float().expand(channels, -1, -1))
    (item,) = reader().items(str(tmp_path / name))
    torch.testing.assert_close(item.sample, seen[:1])


def test_big_endian_and_inverted_files_are_scaled(tmp_path):
    big = Image.frombytes("I;16B", (7, 5), (GREY.astype(">u2") * 257).astype(">u2").tobytes())
    big.save(tmp_path / "big.tif")
    Image.fromarray(DEEP["a.tif"]).save(tmp_path / "inverted.tif", tiffinfo={262: 0})
    wanted = torch.tensor(GREY / 255.0).float()[None]
    torch.testing.assert_close(as_tensor(opened(tmp_path / "big.tif", 1), 1), wanted)
    with Image.open(tmp_path / "inverted.tif") as file:
        kind = file.tag_v2[262]
    seen = as_tensor(opened(tmp_path / "inverted.tif", 1), 1)
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
        "got values from 0 to 23803; fits: 8 or 16 bits without a sign, or floating-point numbers from 0 to 1; "
        "fix: data.span=[0,23803], if these are black and white"
    )
    data = Images(str(tmp_path), channels=1, span=[0, 23800])
    data.read()
    assert ImageReader(**data.kept()).span == [0, 23800]
    (item,) = reader([0, 23800]).items(str(tmp_path / "b" / "0.tif"))
    torch.testing.assert_close(item.sample, torch.tensor(GREY / 238.0).float()[None])
    (item,) = reader().items(str(tmp_path / "b" / "0.tif"))
    assert item.error == "does not state which values are black and white; got values from 0 to 23800"


def test_nan_is_refused_by_name(tmp_path):
    put(tmp_path / "a")
    values = DEEP["f.tif"].copy()
    values[1, 2] = np.nan
    Image.fromarray(values).save(tmp_path / "a" / "nan.tif")
    data = Images(str(tmp_path), channels=1)
    data.read()
    assert data.notes == ["1 of 13 images are broken and left out: a/nan.tif (has values that are not finite)"]
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
    seen = np.asarray(opened(tmp_path / f"a.{kind}", 1))
    assert seen.shape == (48, 32)
    assert np.abs(seen.astype(int) - np.asarray(upright)).mean() < 4


def test_several_frames_are_told(tmp_path):
    put(tmp_path / "a")
    frames = [Image.new("L", (7, 5), value) for value in (0, 255)]
    frames[0].save(tmp_path / "a" / "x.gif", save_all=True, append_images=frames[1:])
    data = Images(str(tmp_path))
    data.read()
    assert data.notes == ["1 of 13 images have several frames; the first one is taken"]


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
        "4 of the files are left out: .thumbnails (hidden), cat/.ipynb_checkpoints (hidden), "
        "cat/gone (a link that leads nowhere), cat/more/round (links to a folder that is read already)"
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
            Image.fromarray(values.astype(np.uint16) if scale else values).save(tmp_path / place / f"{number}.tif")
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
