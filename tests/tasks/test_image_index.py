"""The index of a large image folder: what it holds, when it does not hold, and who writes it."""

import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.data.images.image_folder import Images
from tasks.data.images.listing import files, index
from tasks.data.images.npz import read_npz
from tasks.data.split import hold_out
from tasks.data.walk import Walk
from tasks.resume.state import data_fingerprint

FIRST, SECOND = "their index is written to", "images by the index"


@pytest.fixture(autouse=True)
def small_folders_have_an_index(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "LEAST", 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def settle(folder):
    """Set the time of the last change of all folders to a minute ago."""
    for place, _, _ in os.walk(folder):
        found = os.stat(place)
        os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns - 60_000_000_000))


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "set"
    for name in ("cat", "dog", os.fsdecode(b"caf\xe9")):
        (place / name / "more").mkdir(parents=True)
        for number in range(4):
            Image.new("L", (3, 2), number).save(place / name / f"{number}.png")
            Image.new("L", (3, 2), number).save(place / name / "more" / f"{number}.png")
    (place / "cat" / "notes.txt").write_text("", encoding="utf-8")
    (place / "cat" / ".hidden.png").write_bytes(b"")
    (place / "dog" / "linked.png").symlink_to(place / "cat" / "0.png")
    (place / "dog" / "gone.png").symlink_to(place / "gone")
    (tmp_path / "elsewhere").mkdir()
    Image.new("L", (3, 2)).save(tmp_path / "elsewhere" / "5.png")
    (place / "dog" / "other").symlink_to(tmp_path / "elsewhere")
    settle(tmp_path)
    return place


def find(folder):
    """Return what is found, as plain values, and the note."""
    scan, note = files.find_images(folder)
    parts = {part: list(samples) for part, samples in scan.parts.items()}
    return (parts, sorted(scan.left_out)), note


def test_the_index_says_what_the_folder_holds(folder):
    found, note = find(folder)
    place = folder.with_name(".set.index.npz")
    assert note == f"26 images; their index is written to {place}"
    again, note = find(folder)
    assert note == f"26 images by the index {place}"
    assert again == found
    paths = [path for path, _ in found[0]["train"]]
    assert paths == sorted(paths)
    assert set(paths) == {path for path in folder.rglob("*.png") if path.is_file()} - {
        folder / "cat" / ".hidden.png"
    } | {folder / "dog" / "other" / "5.png"}
    assert {label for _, label in found[0]["train"]} == {"cat", "caf\\xe9", "dog"}
    assert found[1] == [
        "cat/.hidden.png (hidden)",
        "cat/notes.txt (no image)",
        "dog/gone.png (a link that leads nowhere)",
    ]


def test_data_by_the_index_are_the_same(folder):
    first, second = Images(str(folder)), Images(str(folder))
    plain = Images(str(folder), index=False)
    for data in (first, second, plain):
        data.read()
    assert FIRST in first.notes[0]
    assert SECOND in second.notes[0]
    assert second.notes[1:] == first.notes[1:] == plain.notes
    assert first.sizes() == second.sizes() == plain.sizes()
    assert first.names("train") == second.names("train") == plain.names("train")
    assert data_fingerprint(first) == data_fingerprint(second) == data_fingerprint(plain)


def add_file(folder):
    Image.new("L", (3, 2)).save(folder / "cat" / "more" / "new.png")


def remove_file(folder):
    (folder / "dog" / "1.png").unlink()


def rename_class(folder):
    (folder / "dog").rename(folder / "wolf")


def add_class(folder):
    shutil.copytree(folder / "dog", folder / "wolf", symlinks=True)


def change_linked_folder(folder):
    Image.new("L", (3, 2)).save(folder.parent / "elsewhere" / "6.png")


def lead_another_way(folder):
    (folder.parent / "elsewhere").rename(folder.parent / "before")
    shutil.copytree(folder.parent / "before", folder.parent / "elsewhere")


def lose_what_a_link_leads_to(folder):
    (folder / "cat" / "0.png").rename(folder / "cat" / "0.moved")
    settle(folder)


def find_what_a_link_leads_to(folder):
    Image.new("L", (3, 2)).save(folder / "gone", "png")
    os.utime(folder, ns=(0, index.stamp_of(folder)[2]))


@pytest.mark.parametrize(
    "change",
    [
        add_file,
        remove_file,
        rename_class,
        add_class,
        change_linked_folder,
        lead_another_way,
        lose_what_a_link_leads_to,
        find_what_a_link_leads_to,
    ],
)
def test_a_changed_folder_is_read_anew(folder, change):
    find(folder)
    change(folder)
    changed, note = find(folder)
    assert SECOND not in note
    assert changed == find_plain(folder)
    settle(folder.parent)
    assert FIRST in find(folder)[1]
    assert find(folder) == (
        find_plain(folder),
        f"{len(changed[0]['train'])} images by the index {folder.with_name('.set.index.npz')}",
    )


def find_plain(folder):
    scan = files.scan_folder(folder)
    return {part: list(samples) for part, samples in scan.parts.items()}, sorted(scan.left_out)


def test_a_link_whose_end_changes_far_away_is_noticed(folder, tmp_path):
    Image.new("L", (3, 2)).save(tmp_path / "far.png")
    (folder / "cat" / "far.png").symlink_to(tmp_path / "far.png")
    settle(folder)
    find(folder)
    (tmp_path / "far.png").unlink()  # changes no folder that was read
    changed, note = find(folder)
    assert FIRST in note
    assert "cat/far.png (a link that leads nowhere)" in changed[1]


def test_a_folder_that_has_just_been_changed_gets_no_index(folder):
    add_file(folder)
    note = find(folder)[1]
    assert note == "27 images; no index of the folder is written: it has just been changed"
    assert not folder.with_name(".set.index.npz").exists()


def replace_arrays(**changed):
    def damage(place):
        arrays = read_npz(place)
        for name, value in changed.items():
            arrays[name.replace("__", ".")] = value
        with open(place, "wb") as file:
            np.savez(file, **arrays)

    return damage


def cut(share):
    def damage(place):
        content = place.read_bytes()
        place.write_bytes(content[: int(share * len(content))])

    return damage


def flip_a_byte(place):
    content = bytearray(place.read_bytes())
    content[content.index(b"cat/0.png")] ^= 1
    place.write_bytes(bytes(content))


NAMES = np.frombuffer(b"../../etc/a.png", np.uint8)
DAMAGE = {
    "empty": cut(0),
    "half": cut(0.5),
    "cut": cut(0.98),
    "no archive": lambda place: place.write_bytes(b"no archive"),
    "a byte": flip_a_byte,
    "another format": replace_arrays(format=np.array(2)),
    "no stamps": replace_arrays(stamps=np.zeros(0, np.uint8)),
    "text": replace_arrays(stamps=np.frombuffer(b"a b c\0" * 8, np.uint8)),
    "codes": replace_arrays(train__codes=np.full(26, 7)),
    "negative": replace_arrays(train__codes=np.full(26, -1)),
    "lengths": replace_arrays(train__ends=np.arange(5)),
    "backwards": replace_arrays(train__ends=np.arange(26)[::-1].copy()),
    "shapes": replace_arrays(train__ends=np.zeros((26, 2), np.int64)),
    "types": replace_arrays(train__ends=np.array(["a"] * 26)),
    "outside": replace_arrays(
        train__names=NAMES,
        train__ends=np.array([len(NAMES)]),
        train__codes=np.zeros(1, np.int32),
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_index_is_written_anew(folder, damage):
    found, _ = find(folder)
    damage(folder.with_name(".set.index.npz"))
    again, note = find(folder)
    assert again == found
    assert FIRST in note
    assert SECOND in find(folder)[1]


def test_the_cache_has_the_index_where_nothing_is_written_beside(folder, tmp_path):
    (folder.with_name(".set.index.npz") / "in the way").mkdir(parents=True)
    found, note = find(folder)
    (place,) = (tmp_path / "cache" / "dougong" / "index").iterdir()
    assert note == f"26 images; their index is written to {place}"
    assert find(folder) == (found, f"26 images by the index {place}")


def test_a_folder_whose_index_cannot_be_written_is_read(folder, tmp_path):
    (folder.with_name(".set.index.npz") / "in the way").mkdir(parents=True)
    (tmp_path / "cache").write_bytes(b"")
    for _ in range(2):
        assert find(folder)[1] == "26 images; their index could not be written"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("..set")] == []


def test_a_confined_process_keeps_no_index_outside(folder, monkeypatch):
    monkeypatch.setenv("DOUGONG_CONFINED", str(folder))
    assert index.places(folder) == []
    assert find(folder)[1] == "25 images; their index could not be written"


def test_many_writers_at_once_leave_a_whole_index(folder):
    found = find_plain(folder)
    results = []

    def work():
        for _ in range(10):
            results.append(find(folder)[0] == found)
            index.save_index(folder, files.scan_folder(folder))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40
    assert SECOND in find(folder)[1]
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith("..")] == []


@pytest.mark.slow
def test_two_processes_at_once_find_the_same(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6000):
            (tmp_path / "set" / name / f"{number}.png").write_bytes(b"")
    settle(tmp_path)
    code = (
        "import sys; from pathlib import Path; "
        "from tasks.data.images.listing.files import find_images; "
        "scan, note = find_images(Path(sys.argv[1])); print(scan.size(), note)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "set")]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        for _ in range(2)
    ]
    for process in started:
        assert process.communicate()[0].startswith("12000 12,000 images")
        assert process.returncode == 0
    place = tmp_path / ".set.index.npz"
    assert index.load_index(tmp_path / "set")[1] == place
    assert sorted(path.name for path in tmp_path.iterdir() if "set" in path.name) == [
        ".set.index.npz",
        "set",
    ]


def test_many_files_are_not_decoded_before_training(folder, monkeypatch):
    monkeypatch.setattr("tasks.data.images.image_folder.CHECKED", 20)
    (folder / "cat" / "1.png").write_bytes(b"no image")
    data = Images(str(folder))
    data.read()
    assert sum(data.sizes().values()) == 26
    assert data.notes[-1] == (
        "26 images are not decoded before training, and a broken one would stop it: "
        "data.check=true decodes all of them"
    )
    data = Images(str(folder), check=True)
    data.read()
    assert sum(data.sizes().values()) == 25
    assert "1 of 26 images are broken and left out: cat/1.png" in data.notes[-1]


def test_names_are_sorted_as_paths(tmp_path):
    for name in ("a/b.png", "a.b/c.png", "a/a/z.png", "a-b.png", "é/x.png", "B.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    walk = Walk(tmp_path)
    assert walk.files == sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_the_files_of_the_kernel_are_left_out():
    walk = Walk(index.Path("/proc/self/net"))
    assert walk.names == []
    assert any(name.endswith("(a file of the kernel)") for name in walk.left_out)


def test_a_part_is_held_out_as_by_each_class_alone():
    label = torch.randint(0, 17, (500,), generator=torch.Generator().manual_seed(0))
    stay, take = hold_out(label, 0.3, seed=5)
    assert torch.cat([stay, take]).sort().values.equal(torch.arange(500))
    assert stay.equal(stay.sort().values)
    for name in range(17):
        held = int((label[take] == name).sum())
        assert held == round(0.3 * int((label == name).sum()))
