import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.data.images import augment, idx
from tasks.data.images.arrays import Arrays
from tasks.data.images.digits import Digits
from tasks.data.images.image_folder import Images, center_crop
from tasks.data.sampler import Order, generator
from tasks.data.split import split
from tasks.errors import ArgumentError, SampleError

H, W = 5, 7


def idx_bytes(array):
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + b"".join(
        struct.pack(">I", size) for size in array.shape
    )
    return head + array.astype(np.uint8).tobytes()


def arrays(count, seed=0):
    source = np.random.default_rng(seed)
    return source.integers(0, 256, (count, H, W)), np.arange(count) % 3


def folder_of_idx(folder, *, packed=True):
    for name, count in (("train", 60), ("t10k", 12)):
        for kind, array in zip(("images-idx3", "labels-idx1"), arrays(count), strict=True):
            content = idx_bytes(array)
            file = folder / f"{name}-{kind}-ubyte{'.gz' if packed else ''}"
            file.write_bytes(gzip.compress(content) if packed else content)


def folder_of_images(folder, classes=("cat", "dog"), count=20, size=(9, 11)):
    source = np.random.default_rng(3)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = source.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")


def told(data):
    with pytest.raises(ArgumentError) as error:
        data.read()
    return str(error.value)


# ---------------------------------------------------------------- order, split, augmentation


def test_order_is_a_function_of_seed_and_epoch_alone():
    order = Order(97, shuffle=True, seed=5)
    order.set_epoch(3)
    again = Order(97, shuffle=True, seed=5)
    again.set_epoch(3)
    assert list(order) == list(order) == list(again)
    again.set_epoch(4)
    assert list(order) != list(again)
    assert sorted(index for _, index in order) == list(range(97))


def test_processes_share_an_epoch_without_overlap():
    shares = [list(Order(97, shuffle=True, seed=5, rank=rank, world=3)) for rank in range(3)]
    assert (
        [len(share) for share in shares]
        == [32, 32, 32]
        == [len(Order(97, shuffle=True, rank=r, world=3)) for r in range(3)]
    )
    assert len({index for share in shares for _, index in share}) == 96
    judged = [index for rank in range(3) for _, index in Order(97, rank=rank, world=3)]
    assert sorted(judged) == list(range(97))


def test_a_split_is_stratified_complete_and_fixed():
    label = torch.arange(3).repeat_interleave(torch.tensor([100, 50, 10]))
    parts = split(label, 0.1, 0.2, seed=1)
    assert torch.cat(list(parts.values())).sort().values.equal(torch.arange(160))
    assert parts["test"].numel() == 32
    assert label[parts["test"]].bincount().tolist() == [20, 10, 2]
    assert all(parts[name].equal(split(label, 0.1, 0.2, seed=1)[name]) for name in parts)
    assert not parts["test"].equal(split(label, 0.1, 0.2, seed=2)["test"])


def test_a_shift_moves_each_image_and_fills_with_black():
    image = torch.zeros(64, 1, 11, 13)
    image[:, :, 5, 6] = 1
    moved = augment.move(image, generator(0), shift=2)
    torch.testing.assert_close(
        moved.sum((1, 2, 3)), torch.ones(64)
    )  # spread over pixels, nothing lost
    rows, columns = torch.arange(11.0), torch.arange(13.0)
    down, right = (moved.sum((1, 3)) * rows).sum(1) - 5, (moved.sum((1, 2)) * columns).sum(1) - 6
    assert down.abs().max() <= 2 + 1e-4
    assert right.abs().max() <= 2 + 1e-4
    assert down.std() > 0.8  # uniform in [-2, 2]: 1.15
    assert moved.equal(augment.move(image, generator(0), shift=2))
    assert augment.move(torch.ones(9, 1, 11, 13), generator(0), shift=3).amin((1, 2, 3)).eq(0).any()


def test_nothing_moves_by_zero():
    image = torch.rand(3, 2, H, W)
    torch.testing.assert_close(augment.move(image, generator(0)), image)


def test_a_turn_keeps_distances_in_an_image_that_is_no_square():
    image = torch.zeros(64, 1, 21, 31)
    image[:, :, 10, 15 + 8] = 1  # eight pixels from the middle
    moved = augment.move(image, generator(0), rotate=60)
    mass = moved.sum((1, 2, 3))
    down = (moved.sum((1, 3)) * torch.arange(21.0)).sum(1) / mass - 10
    right = (moved.sum((1, 2)) * torch.arange(31.0)).sum(1) / mass - 15
    torch.testing.assert_close(
        (down**2 + right**2).sqrt(), torch.full((64,), 8.0), atol=0.3, rtol=0
    )
    assert down.abs().max() > 6


def test_a_flip_mirrors_about_half():
    image = torch.arange(64 * W).reshape(64, 1, 1, W).float()
    flipped = augment.flip(image, generator(1))
    mirrored = (flipped == image.flip(3)).all(3).squeeze()
    assert 20 < mirrored.sum() < 44
    assert (mirrored | (flipped == image).all(3).squeeze()).all()


# ---------------------------------------------------------------- digits, and what is held in
# memory


def test_digits_are_split_alike_for_every_seed_and_scaled():
    data, other = Digits(seed=1), Digits(seed=2)
    assert data.facts() == {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10}
    assert data.sizes() == {"train": 1259, "val": 179, "test": 359}
    other.read()
    assert data.parts["test"]["image"].equal(other.parts["test"]["image"])
    batches = torch.cat([batch["image"] for batch in data.val_dataloader()])
    assert batches.shape == (179, 1, 8, 8)
    whole = (data.parts["train"]["image"] - data.mean) / data.std
    torch.testing.assert_close(whole.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.std(), torch.tensor(1.0), atol=1e-3, rtol=0)


def test_batches_can_be_iterated_again_and_follow_the_epoch():
    data = Digits(batch_size=100, shift=0.5, rotate=9, scale=0.1, flip=True, seed=3)
    data.read()
    loader = data.train_dataloader()
    first, again = list(loader), list(loader)
    assert len(first) == len(loader) == 12  # 1259 samples: whole batches only
    assert all(a["image"].equal(b["image"]) for a, b in zip(first, again, strict=True))
    loader.sampler.set_epoch(1)
    assert not next(iter(loader))["index"].equal(first[0]["index"])


def test_an_evaluation_sees_every_sample_once():
    data = Digits(batch_size=100)
    data.read()
    index = torch.cat([batch["index"] for batch in data.test_dataloader()])
    assert index.equal(torch.arange(359))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 0}, "batch_size must be positive; got batch_size=0; fits: 1 or more"),
        ({"shift": -1}, "shift must not be negative; got shift=-1; fits: 0 or more"),
        (
            {"val": 0.5, "test": 0.5},
            "val and test leave nothing for training; got val=0.5, test=0.5; fits: val + test < 1",
        ),
        ({"test": 1.0}, "test must be in [0, 1); got test=1.0; fits: e.g. 0.1"),
    ],
)
def test_impossible_data_arguments_are_told(options, text):
    with pytest.raises(ArgumentError) as error:
        Digits(**options)
    assert str(error.value) == text


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_of_idx_files(tmp_path, packed):
    folder_of_idx(tmp_path, packed=packed)
    data = Arrays(str(tmp_path), val=0.2)
    assert data.facts() == {"image": {"channels": 1, "height": H, "width": W}, "classes": 3}
    assert data.sizes() == {"train": 48, "val": 12, "test": 12}
    assert data.parts["test"]["image"][:, 0].numpy().tolist() == arrays(12)[0].tolist()
    assert data.raw_sample("test", 3).image.max() <= 1


def test_npz_with_parts_colour_and_labels_from_one(tmp_path):
    source = np.random.default_rng(0)
    file = tmp_path / "a.npz"
    image = source.random((30, H, W, 3)) * 255
    np.savez(
        file,
        x_train=image,
        y_train=(np.arange(30) % 3 + 1)[:, None],
        x_test=image[:6],
        y_test=np.arange(6) % 3 + 1,
    )
    data = Arrays(str(file))
    assert data.facts() == {"image": {"channels": 3, "height": H, "width": W}, "classes": 3}
    assert data.classes == ["1", "2", "3"]
    assert data.parts["test"]["label"].tolist() == [0, 1, 2, 0, 1, 2]
    kept = data.parts["train"]["image"]
    assert 0 <= kept.min() < kept.max() <= 1


def test_npz_without_parts_is_split(tmp_path):
    image, label = arrays(90)
    np.savez(tmp_path / "a.npz", images=image.astype(np.uint8), labels=label)
    data = Arrays(str(tmp_path / "a.npz"), val=0.1, test=0.2)
    data.read()
    assert data.sizes() == {"train": 63, "val": 9, "test": 18}


def test_a_missing_path_is_told():
    assert told(Arrays("/no/such/file.npz")) == (
        "/no/such/file.npz does not exist; got path=/no/such/file.npz; "
        "fix: data.path=FILE.npz, or data.path=FOLDER with IDX files"
    )


def test_npz_without_the_keys_is_told(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, weights=np.zeros(3), other=np.zeros(3))
    assert told(Arrays(str(file))) == (
        f"{file} has no training images and labels; got the arrays weights, other; "
        "fits: x_train, y_train, x_test, y_test"
    )


def test_npz_with_images_but_no_labels_is_told(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, x_train=np.zeros((3, H, W)))
    assert told(Arrays(str(file))) == (
        f"{file}: the train part has no labels; got the arrays x_train; fits: x_train, y_train, "
        "x_test, y_test"
    )


def test_pickled_objects_are_not_loaded(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, x_train=np.array([{}, {}], dtype=object), y_train=np.zeros(2))
    assert told(Arrays(str(file))).startswith(
        f"{file} cannot be read as .npz: Object arrays cannot be loaded"
    )


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut off"])
def test_a_broken_npz_is_told(tmp_path, content):
    file = tmp_path / "a.npz"
    file.write_bytes(content)
    assert told(Arrays(str(file))).startswith(f"{file} cannot be read as .npz: ")


def test_unequal_images_and_labels_are_told(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, x_train=np.zeros((5, H, W)), y_train=np.zeros(4, dtype=int))
    assert (
        told(Arrays(str(file)))
        == f"{file}: the train part needs one label for each image; got 5 images, 4 labels"
    )


def test_a_class_that_training_lacks_is_told(tmp_path):
    file = tmp_path / "a.npz"
    image, label = arrays(9)
    np.savez(file, x_train=image, y_train=label, x_test=image, y_test=label + 1)
    assert told(Arrays(str(file))) == (
        f"{file}: the test part has a class that training lacks; got label 3, training has 0, 1, 2"
    )


def test_flat_images_are_told(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, x_train=np.zeros((5, 49)), y_train=np.zeros(5, dtype=int))
    assert told(Arrays(str(file))) == (
        f"{file}: images must be arrays of three or four axes; got shape (5, 49) of float64; "
        "fits: (samples, height, width), or with channels before or after height and width"
    )


def test_a_wrong_magic_number_is_told(tmp_path):
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(b"\x89PNG rest")
    with pytest.raises(ArgumentError) as error:
        idx.read_idx(file)
    assert str(error.value) == (
        f"{file} is no IDX file: its magic number is wrong; got train-images-idx3-ubyte begins "
        "with 89 50 4e 47; "
        "fits: 00 00 08 03 for images, 00 00 08 01 for labels"
    )


def test_a_cut_off_idx_file_is_told(tmp_path):
    file = tmp_path / "a-idx3-ubyte"
    file.write_bytes(idx_bytes(arrays(3)[0])[:-10])
    with pytest.raises(ArgumentError) as error:
        idx.read_idx(file)
    assert str(error.value) == (
        f"{file} is broken: its size is not what its header says; got 111 bytes, the header "
        "says 121; "
        "fix: fetch it again"
    )


def test_a_cut_off_gzip_file_is_told(tmp_path):
    file = tmp_path / "a-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(idx_bytes(arrays(30)[0]))[:-20])
    with pytest.raises(
        ArgumentError, match=r"cannot be read: Compressed file ended.*fix: fetch it again"
    ):
        idx.read_idx(file)


def test_an_empty_folder_of_arrays_is_told(tmp_path):
    assert told(Arrays(str(tmp_path))) == (
        f"{tmp_path} has no training images and labels; got no IDX file; "
        "fits: train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz"
    )


# ---------------------------------------------------------------- image folders


def test_class_folders_are_split_and_read(tmp_path):
    folder_of_images(tmp_path)
    data = Images(str(tmp_path), size=6, workers=0, batch_size=8)
    assert data.facts() == {"image": {"channels": 3, "height": 6, "width": 6}, "classes": 2}
    assert data.classes == ["cat", "dog"]
    assert data.sizes() == {"train": 32, "val": 4, "test": 4}
    batches = list(data.train_dataloader())
    assert [len(batch["label"]) for batch in batches] == [8, 8, 8, 8]
    assert batches[0]["image"].shape == (8, 3, 6, 6)
    assert data.names("test")[0].startswith("cat/")


def test_parts_that_the_folder_has_are_honoured(tmp_path):
    folder_of_images(tmp_path / "Train", count=10)
    folder_of_images(tmp_path / "validation", count=3)
    data = Images(str(tmp_path), size=6, test=0.2)
    data.read()
    assert data.sizes() == {"train": 16, "val": 6, "test": 4}


def test_augmentation_depends_on_seed_epoch_and_index_alone(tmp_path):
    folder_of_images(tmp_path)
    one, other = (Images(str(tmp_path), size=6, workers=workers, seed=4) for workers in (0, 2))
    one.read()
    other.read()
    images = [next(iter(data.train_dataloader()))["image"] for data in (one, other)]
    assert images[0].equal(images[1])


def test_broken_images_are_counted_and_left_out(tmp_path):
    folder_of_images(tmp_path)
    (tmp_path / "cat" / "00.png").write_bytes(b"")
    whole = (tmp_path / "dog" / "01.png").read_bytes()
    (tmp_path / "dog" / "01.png").write_bytes(whole[: len(whole) // 2])
    data = Images(str(tmp_path), size=6)
    data.read()
    assert sum(data.sizes().values()) == 38
    (note,) = data.notes
    assert note.startswith(
        "2 of 40 images are broken and left out: cat/00.png (empty file); dog/01.png ("
    )


def test_a_broken_image_that_was_not_looked_for_stops_the_run_by_name(tmp_path):
    folder_of_images(tmp_path, count=4)
    (tmp_path / "cat" / "00.png").write_bytes(b"no image")
    data = Images(str(tmp_path), size=6, workers=0, check=False, batch_size=1)
    data.read()
    with pytest.raises(SampleError, match=r"cat/00.png cannot be read: cannot identify image file"):
        [
            list(loader)
            for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
        ]


def test_a_folder_without_images_is_told(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("meow", encoding="utf-8")
    assert told(Images(str(tmp_path))) == (
        f"no images in {tmp_path}; got it holds cat; left out: cat/notes.txt (no image); "
        f"fits: {tmp_path.name}/CLASS/IMAGE with one of "
        ".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp"
    )


def test_an_empty_class_folder_is_told(tmp_path):
    folder_of_images(tmp_path, count=2)
    (tmp_path / "eel").mkdir()
    assert told(Images(str(tmp_path))) == (
        f"class folders of {tmp_path} have no images; got eel; fix: fill or delete them"
    )


def test_a_folder_that_is_not_there_is_told(tmp_path):
    assert told(Images(str(tmp_path / "no"))) == (
        f"{tmp_path / 'no'} does not exist; got path={tmp_path / 'no'}; fix: data.path=FOLDER"
    )


def test_grey_transparent_and_wide_images_become_what_is_asked(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGBA", (9, 5), (0, 0, 0, 0)).save(tmp_path / "a" / "clear.png")
    Image.new("L", (5, 9), 0).save(tmp_path / "a" / "grey.png")
    (tmp_path / "b").mkdir()
    Image.new("L", (5, 9), 9).save(tmp_path / "b" / "other.png")
    data = Images(str(tmp_path), size=4, channels=1, val=0.0, test=0.5)
    data.read()
    pictures = [data.raw_sample(part, 0).image for part in ("train", "test")]
    assert [tuple(picture.shape) for picture in pictures] == [(1, 4, 4)] * 2
    assert sorted(float(picture.mean()) for picture in pictures) == [
        0.0,
        1.0,
    ]  # clear is white, grey was black


def test_the_middle_of_an_image_keeps_its_proportions():
    image = Image.new("L", (30, 10))
    image.paste(255, (10, 0, 20, 10))  # the middle third is white
    assert np.asarray(center_crop(image, (10, 10))).min() == 255


def test_digits_of_another_size_are_the_same_digits_and_labels():
    small, large = Digits(), Digits(size=24)
    small.read(), large.read()
    assert large.facts()["image"] == {"channels": 1, "height": 24, "width": 24}
    assert torch.equal(small.parts["test"]["label"], large.parts["test"]["label"])
    image, wide = (data.parts["test"]["image"] for data in (small, large))
    torch.testing.assert_close(
        wide[..., 1::3, 1::3], image, atol=1e-6, rtol=0
    )  # the middle of each pixel keeps its value
    assert wide.max() <= 1
