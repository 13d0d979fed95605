"""Published data sets by name, read where they lie."""

import numpy as np
import pytest

from tasks.data.published.named import Named
from tasks.errors import ArgumentError


def write_cifar(folder, per_file=20):
    """Write the six files; return the images and labels of the test."""
    source = np.random.default_rng(3)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for name in names:
        records = source.integers(0, 256, (per_file, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(per_file) % 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def test_cifar_has_its_pixels_and_the_names_of_its_classes(tmp_path):
    image, label = write_cifar(tmp_path)
    data = Named(name="cifar10", path=str(tmp_path), val=0.2)
    data.read()
    assert data.sizes() == {"train": 80, "val": 20, "test": 20}
    assert np.array_equal(data.parts["test"]["image"].numpy(), image)
    assert data.parts["test"]["label"].tolist() == label.tolist()
    assert (data.classes[0], data.classes[9]) == ("airplane", "truck")


def test_a_truncated_file_of_cifar_is_named(tmp_path):
    write_cifar(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ArgumentError) as caught:
        Named(name="cifar10", path=str(tmp_path)).read()
    assert str(caught.value) == (
        f"{path} is broken: its size is no multiple of 3,073 bytes; got 61,455 bytes; "
        "fix: fetch it again"
    )


def test_missing_data_are_reported_with_the_command_that_fetches_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ArgumentError) as caught:
        Named(name="cifar10")
    assert str(caught.value) == (
        "CIFAR-10 is not on this machine; got looked for data/cifar10, data/cifar-10-batches-bin; "
        "fits: data.path=FOLDER_OR_FILE; fix: mkdir -p data && curl "
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz | tar xz -C data"
    )
