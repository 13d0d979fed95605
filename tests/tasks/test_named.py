"""Published data sets by name, read where they lie."""

import gzip
import shlex
import struct

import numpy as np
import pytest

from blocks.graph import compose
from tasks.config import instantiate
from tasks.data.images.arrays import Arrays
from tasks.data.published.named import PUBLISHED, Named
from tasks.errors import ArgumentError

IDX = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, "
    "t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"
)


def write_cifar(folder, per_file=20):
    """Write the six files; return the images and labels of the test."""
    folder.mkdir(parents=True, exist_ok=True)
    source = np.random.default_rng(3)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for name in names:
        records = source.integers(0, 256, (per_file, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(per_file) % 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def make_digits(side=28, classes=10):
    """Return x_train, y_train, x_test, y_test."""
    source = np.random.default_rng(5)
    arrays = {}
    for part, count in (("train", 60), ("test", 20)):
        arrays[f"x_{part}"] = source.integers(0, 256, (count, side, side), dtype=np.uint8)
        arrays[f"y_{part}"] = (np.arange(count) % classes).astype(np.uint8)
    return arrays


def write_idx(folder, arrays, packed):
    """Write the four files of MNIST, which begin with a type and the length of each axis."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        part = name.partition("_")[2].replace("test", "t10k")
        kind = "images" if name.startswith("x") else "labels"
        axes = array.ndim
        content = bytes([0, 0, 8, axes]) + struct.pack(f">{axes}I", *array.shape) + array.tobytes()
        file = folder / f"{part}-{kind}-idx{axes}-ubyte"
        if packed:
            file.with_name(file.name + ".gz").write_bytes(gzip.compress(content))
        else:
            file.write_bytes(content)


def told(**options):
    with pytest.raises(ArgumentError) as caught:
        Named(**options).read()
    return str(caught.value)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """Return a working folder that is the home folder as well, without data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_cifar_has_its_pixels_and_the_names_of_its_classes(tmp_path):
    image, label = write_cifar(tmp_path)
    data = Named(name="cifar10", path=str(tmp_path), val=0.2)
    data.read()
    assert data.sizes() == {"train": 80, "val": 20, "test": 20}
    assert np.array_equal(data.parts["test"]["image"].numpy(), image)
    assert data.parts["test"]["label"].tolist() == label.tolist()
    assert (data.classes[0], data.classes[9]) == ("airplane", "truck")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_have_the_values_that_arrays_reads(tmp_path, name, packed):
    arrays = make_digits()
    write_idx(tmp_path, arrays, packed)
    data, plain = Named(name=name, path=str(tmp_path)), Arrays(str(tmp_path))
    data.read()
    plain.read()
    assert np.array_equal(data.parts["test"]["image"][:, 0].numpy(), arrays["x_test"])
    for part, tensors in plain.parts.items():
        assert data.parts[part]["image"].equal(tensors["image"])
        assert data.parts[part]["label"].equal(tensors["label"])
    assert data.classes == list(PUBLISHED[name].classes)


@pytest.mark.parametrize(
    "place",
    ["data/mnist.npz", "data/mnist", "data/MNIST/raw", ".keras/datasets/mnist.npz"],
)
def test_the_usual_places_are_searched(empty, place):
    target = empty / place
    if target.suffix:
        target.parent.mkdir(parents=True)
        np.savez(target, **make_digits())
    else:
        write_idx(target, make_digits(), packed=True)
    data = Named(name="mnist")
    data.read()
    shown = place.replace(".keras", f"{empty}/.keras")
    assert data.notes == [f"MNIST is read from {shown}"]
    assert data.sizes() == {"train": 50, "val": 10, "test": 20}


def test_a_folder_without_all_files_is_passed_over(empty):
    write_idx(empty / "data/mnist", make_digits(), packed=True)
    (empty / "data/mnist/t10k-labels-idx1-ubyte.gz").unlink()
    write_idx(empty / "data/MNIST/raw", make_digits(), packed=False)
    data = Named(name="mnist")
    data.read()
    assert str(data.path) == "data/MNIST/raw"


def test_a_given_folder_may_contain_the_usual_places(tmp_path):
    write_cifar(tmp_path / "my data/cifar-10-batches-bin")
    data = Named(name="cifar10", path=str(tmp_path / "my data"))
    assert data.facts() == {"image": {"channels": 3, "height": 32, "width": 32}, "classes": 10}


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_file_makes_the_data_whose_facts_it_declares(name):
    composed = compose([f"data={name}"])
    data = instantiate.make(composed, ("data",))
    channels, height, width = data.published.image
    image = {"channels": channels, "height": height, "width": width}
    assert composed.config["data"]["facts"] == {"image": image, "classes": 10}
    assert len(data.published.classes) == 10
    assert data.parts == {}  # nothing is read before it is needed


def test_missing_data_are_reported_with_the_command_that_fetches_them(empty):
    assert told(name="cifar10") == (
        "CIFAR-10 is not on this machine; got looked for data/cifar-10-batches-bin, data/cifar10, "
        f"{empty}/.keras/datasets/cifar-10-batches-bin, {empty}/.keras/datasets/cifar10; "
        "fits: a folder with the binary version: data_batch_1.bin, data_batch_2.bin, "
        "data_batch_3.bin, data_batch_4.bin, data_batch_5.bin, test_batch.bin; fix: mkdir -p data "
        "&& curl https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz | tar xz -C data"
    )
    folder = empty / "my data"
    assert told(name="fashion_mnist", path=str(folder)) == (
        f"Fashion-MNIST is not on this machine; got looked for {folder}, "
        f"{folder}/fashion_mnist.npz, {folder}/fashion_mnist, {folder}/fashion-mnist, "
        f"{folder}/FashionMNIST/raw; fits: a .npz file, or a folder with {IDX}, compressed or not; "
        f"fix: curl --create-dirs --output-dir '{folder}'/fashion_mnist --remote-name-all "
        "'https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
        "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz'"
    )
    assert told(name="mnist", path="here/a.npz") == (
        f"MNIST is not on this machine; got looked for here/a.npz; fits: a .npz file, or a folder "
        f"with {IDX}, compressed or not; fix: curl --create-dirs -o here/mnist.npz "
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_the_command_fetches_is_found_afterwards(empty, name):
    command = PUBLISHED[name].fetch.format(root="data")
    words = shlex.split(command)
    if name == "mnist":
        (empty / "data").mkdir()
        np.savez(empty / words[words.index("-o") + 1], **make_digits())
    elif name == "fashion_mnist":
        write_idx(empty / words[words.index("--output-dir") + 1], make_digits(), packed=True)
    else:  # the archive has the folder cifar-10-batches-bin
        write_cifar(empty / words[words.index("-C") + 1] / "cifar-10-batches-bin")
    Named(name=name).read()


def test_missing_files_of_a_folder_are_named(empty):
    write_cifar(empty / "data/cifar10")
    (empty / "data/cifar10/data_batch_4.bin").unlink()
    (empty / "data/cifar-10-batches-bin").mkdir()
    (empty / "data/cifar-10-batches-bin/data_batch_1").touch()
    assert (
        "; data/cifar-10-batches-bin has the Python version, which is pickled and could run code; "
        "data/cifar10 lacks data_batch_4.bin; fits:"
    ) in told(name="cifar10")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"side": 29}, "the images of the train part have another shape; got 29 x 29; fits: 1 x"),
        ({"classes": 3}, "its classes differ; got the labels 0, 1, 2; fits: 0 to 9"),
    ],
)
def test_other_data_are_refused(tmp_path, change, text):
    file = tmp_path / "other.npz"
    np.savez(file, **make_digits(**change))
    assert told(name="mnist", path=str(file)).startswith(f"{file} is not MNIST: {text}")


def test_data_without_a_test_part_are_refused(tmp_path):
    arrays = make_digits()
    np.savez(tmp_path / "a.npz", x_train=arrays["x_train"], y_train=arrays["y_train"])
    text = f"{tmp_path / 'a.npz'} is not MNIST: it has no test part; fits: a .npz file, or"
    assert told(name="mnist", path=str(tmp_path / "a.npz")).startswith(text)


def test_damaged_files_of_cifar_are_named(tmp_path):
    write_cifar(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    assert told(name="cifar10", path=str(tmp_path)) == (
        f"{path} is broken: its size is no multiple of 3,073 bytes; got 61,455 bytes; "
        "fix: fetch it again"
    )
    path.write_bytes(content[:3073] + b"\x0a" + content[3074:])
    assert told(name="cifar10", path=str(tmp_path)) == (
        f"{path} is no CIFAR-10; got class 10 in record 1; fits: 0 to 9"
    )
