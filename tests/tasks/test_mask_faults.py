"""Folders and masks that cannot be used, or not wholly: each is told, with what helps."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.data.masks.mask_folder import MaskFolder
from tasks.errors import ArgumentError, SampleError

HIGH, WIDE = 6, 8
STRIPES = np.repeat(np.arange(3, dtype=np.uint8), 2)[:, None].repeat(WIDE, 1)  # 0, 1, 2


def save(path: Path, values: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def write(folder: Path, names=("images", "masks"), count: int = 4, suffix: str = "") -> Path:
    for number in range(count):
        save(folder / names[0] / f"{number}.png", np.full((HIGH, WIDE, 3), number, np.uint8))
        save(folder / names[1] / f"{number}{suffix}.png", STRIPES)
    return folder


def open_data(folder: Path, **options) -> MaskFolder:
    data = MaskFolder(str(folder), **{"size": 6, "batch_size": 4, "workers": 0, **options})
    data.read()
    return data


def told(folder: Path, **options) -> ArgumentError:
    with pytest.raises(ArgumentError) as error:
        open_data(folder, **options)
    for part in ("problem", "got", "fits", "fix"):
        assert getattr(error.value, part), part
    return error.value


# Folders ------------------------------------------------------------------------------------------


def test_a_folder_that_is_missing_or_a_file_is_told(tmp_path):
    with pytest.raises(ArgumentError) as error:
        open_data(tmp_path / "none")
    assert str(error.value) == (
        f"{tmp_path}/none does not exist; got path={tmp_path}/none; fix: data.path=FOLDER"
    )
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ArgumentError, match="file is a file, not a folder; fits: a folder such as"):
        open_data(tmp_path / "file")


def test_empty_folders_are_told_with_what_is_missing(tmp_path):
    error = told(tmp_path)
    assert (error.problem, error.got) == (
        f"{tmp_path}/images is no folder",
        f"{tmp_path} holds no folder",
    )
    assert error.fix == f"put the images into {tmp_path.name}/images"
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    assert told(tmp_path).fix == "data.masks=labels, if it holds the masks"
    (tmp_path / "labels").rename(tmp_path / "masks")
    error = told(tmp_path)
    assert (error.problem, error.got) == (
        f"there are no images in {tmp_path}/images",
        "it holds nothing",
    )
    save(tmp_path / "images/1.png", STRIPES)
    (tmp_path / "masks/1.npy").write_bytes(b"x")
    error = told(tmp_path)
    assert (error.problem, error.got) == (
        f"there are no masks in {tmp_path}/masks",
        "it holds 1.npy",
    )
    assert error.fix == "put the masks there, or data.masks=NAME, where they lie elsewhere"


@pytest.mark.parametrize("missing", ["images", "masks"])
@pytest.mark.parametrize("order", ["{}/val", "val/{}"])
def test_a_part_without_images_or_masks_is_told(tmp_path, missing, order):
    """Nothing is taken from the training in its place."""
    there = {"images": "masks", "masks": "images"}[missing]
    training = [order.format(name).replace("val", "train") for name in ("images", "masks")]
    write(tmp_path / "data", training)
    save(tmp_path / "data" / order.format(there) / "0.png", STRIPES)
    error = told(tmp_path / "data")
    assert error.argument == missing
    assert error.problem == f"{tmp_path}/data/{order.format(missing)} is no folder"
    assert error.fix == (
        f"put the {missing} into data/{order.format(missing)}, or move "
        f"data/{order.format(there)} out of the folder"
    )


def test_parts_are_found_in_either_case_and_by_either_name(tmp_path):
    write(tmp_path / "data", ("images/Train", "masks/training"))
    write(tmp_path / "data", ("images/Validation", "masks/VAL"), 2)
    assert open_data(tmp_path / "data", test=0.0).sizes() == {"train": 4, "val": 2, "test": 0}


def test_parts_that_contradict_one_another_are_told(tmp_path):
    folder = write(tmp_path / "data", ("images/val", "masks/val"))
    error = told(folder)
    assert (error.problem, error.got) == (
        f"{folder} has no part for training",
        "data/images/val, data/masks/val",
    )
    write(folder, ("images/train", "masks/train"))
    write(folder, ("val/images", "val/masks"))
    error = told(folder)
    assert error.problem == f"{folder} has the part val twice"
    assert error.got == "data/val/images, data/val/masks; data/images/val, data/masks/val"
    (folder / "val").rename(tmp_path / "val")
    write(folder, ("images/valid", "masks/valid"))
    error = told(folder)
    assert (error.problem, error.got) == (
        f"{folder}/images has the part val twice",
        "val and valid",
    )


def test_what_lies_beside_the_parts_is_counted(tmp_path):
    folder = write(tmp_path / "data", ("images/train", "masks/train"))
    write(folder, ("images/more", "masks/more"), 1)
    save(folder / "images/5.png", STRIPES)
    data = open_data(folder)
    assert data.notes == [
        "3 of the files are left out: images/5.png (beside train), images/more (beside train), "
        "masks/more (beside train)"
    ]
    assert sum(data.sizes().values()) == 4


def test_a_suffix_is_guessed_and_may_share_a_folder_with_the_images(tmp_path):
    folder = write(tmp_path / "data", ("all", "all"), suffix="_mask")
    options = {"images": "all", "masks": "all"}
    data = open_data(folder, **options, suffix="_mask")
    assert sum(data.sizes().values()) == 4
    assert all("without _mask" in note or "left out" not in note for note in data.notes)
    write(tmp_path / "other", suffix="-label")
    assert told(tmp_path / "other").fix == "data.suffix=-label"
    error = told(tmp_path / "other", suffix="_mask")
    assert error.got == "images: 0, 1, 2, 3; masks: none that ends with _mask"


def test_links_hidden_files_and_capital_letters(tmp_path):
    folder = write(tmp_path / "data")
    (folder / "masks/0.png").rename(folder / "masks/0.PNG")
    (folder / "masks/1.png").rename(tmp_path / "elsewhere.png")
    (folder / "masks/1.png").symlink_to(tmp_path / "elsewhere.png")
    (folder / "masks/._2.png").write_bytes(b"x")
    (folder / "masks/4.png").symlink_to(tmp_path / "nowhere")
    (folder / "masks").rename(tmp_path / "masks")
    (folder / "masks").symlink_to(tmp_path / "masks")
    data = open_data(folder)
    assert sum(data.sizes().values()) == 4
    assert data.notes == [
        "2 of the files are left out: masks/._2.png (hidden), "
        "masks/4.png (a link that leads nowhere)"
    ]


def test_too_few_pairs_are_told(tmp_path):
    error = told(write(tmp_path / "data", count=2))
    assert error.problem.startswith("too few pairs of image and mask for the part ")
    assert open_data(tmp_path / "data", val=0.0).sizes() == {"train": 1, "val": 0, "test": 1}


# Masks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("0.jpg", {}, "JPEG"),
        ("0.png", {"format": "JPEG"}, "JPEG"),  # by its bytes, not by its name
        ("0.tif", {"compression": "jpeg"}, "TIFF jpeg"),
    ],
)
def test_a_mask_compressed_with_loss_is_told(tmp_path, name, options, kind):
    folder = write(tmp_path / "data")
    (folder / "masks/0.png").unlink()
    save(folder / "masks" / name, STRIPES, **options)
    error = told(folder)
    assert error.problem == (
        f"{folder}/masks/{name} is compressed with loss, which changes the classes of pixels"
    )
    assert error.got == f"a mask of the kind {kind}"
    assert error.fits == "a PNG file with a palette or with grey values"
    assert error.fix.startswith("write the masks as PNG")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_a_mask_compressed_without_loss_is_read(tmp_path, compression):
    folder = write(tmp_path / "data")
    (folder / "masks/0.png").unlink()
    save(folder / "masks/0.tif", STRIPES, compression=compression)
    data = open_data(folder)
    assert (data.read_mask(folder / "masks/0.tif") == STRIPES).all()


@pytest.mark.parametrize(
    ("mode", "fix"),
    [
        ("LA", "write the masks without opacity"),
        ("F", "write the number of the class of each pixel as a whole number"),
        (
            "RGB",
            'write the masks as grey: Image.open(PATH).convert("RGB").getchannel(0).save(PATH)',
        ),
    ],
)
def test_a_mask_of_another_kind_is_told_with_its_own_fix(tmp_path, mode, fix):
    folder = write(tmp_path / "data")
    (folder / "masks/0.png").unlink()
    Image.fromarray(STRIPES).convert(mode).save(folder / "masks/0.tif")
    error = told(folder)
    assert (error.got, error.fix) == (f"an image of the kind {mode}", fix)


def test_values_of_16_bits_with_gaps_and_signs(tmp_path):
    folder = write(tmp_path / "data")
    for file in (folder / "masks").iterdir():
        save(file, np.array([7, 300, 65535], np.uint16)[STRIPES])
    data = open_data(folder)
    assert data.classes == ["7", "300", "65535"]
    assert (data.read_mask(folder / "masks/0.png") == STRIPES).all()
    (folder / "masks/0.png").unlink()
    save(folder / "masks/0.tif", np.array([7, -1, 70000], np.int32)[STRIPES])
    error = told(folder)
    assert error.problem == "a value of a class does not fit into 16 bits"
    assert error.fix == "data.ignore=[255,-1,70000]"
    data = open_data(folder, ignore=[-1, 70000])
    assert data.read_mask(folder / "masks/0.tif")[:, 0].tolist() == [0, 0, *[-100] * 4]


def test_masks_that_train_nothing_are_counted(tmp_path):
    folder = write(tmp_path / "data")
    save(folder / "masks/0.png", np.full_like(STRIPES, 255))
    data = open_data(folder, classes=["a", "b", "c", "d"])
    assert data.notes == [
        "1 of 4 masks have ignored pixels only: masks/0.png",
        "classes without a pixel for training: d",
    ]
    error = told(folder, ignore=[0, 1, 2, 255])
    assert error.problem == "all pixels of all masks are ignored"


def test_a_class_that_only_the_validation_has_is_counted(tmp_path):
    folder = write(tmp_path / "data", ("images/train", "masks/train"))
    write(folder, ("images/val", "masks/val"))
    save(folder / "masks/val/0.png", STRIPES + 1)
    assert open_data(folder).notes == ["classes without a pixel for training: 3"]


@pytest.mark.parametrize(("largest", "count"), [(3, 1), (255, 0)])
def test_grey_values_that_are_stretched_are_counted(tmp_path, largest, count):
    folder = write(tmp_path / "data")
    (folder / "masks/0.png").unlink()
    content = f"P5 {WIDE} {HIGH} {largest}\n".encode() + STRIPES.tobytes()
    (folder / "masks/0.pgm").write_bytes(content)
    data = open_data(folder, ignore=None)
    note = (
        "1 of 4 masks have fewer than 8 bits or another maximum than 255; their grey values are "
        "stretched to 0 to 255"
    )
    assert data.notes == [note] * count
    assert len(data.classes) == 3 + 2 * count


def test_several_frames_are_counted(tmp_path):
    folder = write(tmp_path / "data")
    (folder / "masks/0.png").unlink()
    other = [Image.fromarray(STRIPES)]
    save(folder / "masks/0.tif", STRIPES, save_all=True, append_images=other)
    assert open_data(folder).notes == ["1 of 4 pairs have several frames; the first one is taken"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"classes": ["a", "b"], "values": [1, 1]}, "values has an entry twice"),
        ({"classes": ["a", "a"]}, "classes has an entry twice"),
        ({"classes": ["a"]}, "there is one class only"),
        ({"values": [0, 65536]}, "a value of a class does not fit into 16 bits"),
        ({"values": [0, 255]}, "a value is both that of a class and ignored"),
    ],
)
def test_classes_that_cannot_be_are_told(tmp_path, options, problem):
    assert told(write(tmp_path / "data"), **options).problem == problem


# Without a look before training -------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_sample_keeps_its_parts(tmp_path, workers):
    folder = write(tmp_path / "data", count=6)
    for number in range(6):
        save(folder / f"masks/{number}.png", STRIPES[:4])
    data = open_data(folder, classes=["a", "b", "c"], check=False, workers=workers, batch_size=4)
    with pytest.raises(SampleError) as raised:
        list(data.train_dataloader())
    error = raised.value
    number = Path(error.problem.split()[0]).stem
    assert str(error).splitlines() == [
        f"{folder}/masks/{number}.png has another size than its image",
        f"  got       masks/{number}.png is 4x8, images/{number}.png is 6x8",
        "  fits      a mask of the height and width of its image",
        "  fix       scale each mask to its image, to the nearest pixel, or remove the pair; "
        "data.check=true finds bad files before training",
    ]
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), vars(again)) == (str(error), vars(error))
