import json
import os
import random
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from blocks.graph import read_whole
from blocks.graph.weights.file import read_tensors
from blocks.graph.weights.shards import checksum
from tasks.errors import ArgumentError
from tasks.resume import checkpoint_file


def content(value):
    return {
        "state_dict": {f"layer.{number}": torch.full((7, 11), float(value)) for number in range(3)},
        "epoch": value,
    }


def test_what_is_saved_is_loaded_and_remains_an_archive(tmp_path):
    path = tmp_path / "last.ckpt"
    checkpoint_file.save_checkpoint(content(5), path)
    for found in (
        checkpoint_file.load_checkpoint(path),
        torch.load(path, weights_only=True),
        torch.load(path, mmap=True),
    ):
        assert found["epoch"] == 5
        assert all(
            tensor.equal(torch.full((7, 11), 5.0)) for tensor in found["state_dict"].values()
        )
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"sha256:")
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path):
    path, source = tmp_path / "last.ckpt", random.Random(0)
    checkpoint_file.save_checkpoint(content(1), path)
    whole = path.read_bytes()
    places = [
        *(source.randrange(len(whole)) for _ in range(20)),
        *range(len(whole) - 95, len(whole), 3),
    ]
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << source.randrange(8)
        path.write_bytes(data)
        assert checkpoint_file.find_damage(path), place
    for length in [0, 1, len(whole) - 1, *(source.randrange(len(whole)) for _ in range(20))]:
        path.write_bytes(whole[:length])
        assert checkpoint_file.find_damage(path), length
    path.write_bytes(whole)
    assert checkpoint_file.find_damage(path) is None


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "last.ckpt"
    checkpoint_file.save_checkpoint(content(1), path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArgumentError) as error:
        checkpoint_file.load_checkpoint(path)
    assert str(error.value) == (
        f"the checkpoint {path} is damaged: its checksum does not fit its content; fix: take "
        "another one"
    )


def test_a_save_that_fails_keeps_the_one_before_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    checkpoint_file.save_checkpoint(content(1), path)

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(checkpoint_file.SaveError) as error:
        checkpoint_file.save_checkpoint(content(2), path)
    assert str(error.value) == (
        f"the checkpoint {path} could not be saved: No space left on device; last.ckpt is the "
        "one before"
    )
    assert checkpoint_file.load_checkpoint(path)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_was_written_wrongly_does_not_take_the_name(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    checkpoint_file.save_checkpoint(content(1), path)
    monkeypatch.setattr(
        checkpoint_file, "find_file_damage", lambda draft: "its checksum does not fit its content"
    )
    with pytest.raises(checkpoint_file.SaveError, match="was written incorrectly"):
        checkpoint_file.save_checkpoint(content(2), path)
    monkeypatch.undo()
    assert checkpoint_file.load_checkpoint(path)["epoch"] == 1


def test_a_folder_that_is_gone_ends_in_an_error(tmp_path):
    with pytest.raises(
        checkpoint_file.SaveError, match="could not be saved: No such file or directory"
    ):
        checkpoint_file.save_checkpoint(content(1), tmp_path / "gone" / "last.ckpt")


def test_a_file_of_another_program_is_read_through(tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save(content(3), path)
    assert checkpoint_file.find_damage(path) is None
    data = bytearray(path.read_bytes())
    place = data.find(torch.full((7, 11), 3.0).numpy().tobytes())
    data[place + 5] ^= 2
    path.write_bytes(data)
    assert "is damaged" in checkpoint_file.find_damage(path)


def test_the_intact_ones_come_newest_first_and_a_name_can_be_given_twice(tmp_path):
    for value, name in enumerate(("best.ckpt", "last.ckpt", "bad.ckpt")):
        checkpoint_file.save_checkpoint(content(value), tmp_path / name)
        os.utime(tmp_path / name, ns=(value, value))
    (tmp_path / "bad.ckpt").write_bytes(b"x")
    assert [path.name for path in checkpoint_file.list_intact(tmp_path)] == [
        "last.ckpt",
        "best.ckpt",
    ]
    checkpoint_file.link_checkpoint(tmp_path / "last.ckpt", tmp_path / "best.ckpt")
    checkpoint_file.save_checkpoint(content(7), tmp_path / "last.ckpt")
    assert [
        checkpoint_file.load_checkpoint(tmp_path / name)["epoch"]
        for name in ("best.ckpt", "last.ckpt")
    ] == [
        1,
        7,
    ]


def save_shards(path):
    """A checkpoint as two processes leave it: each has rows of one weight and of its average."""
    weight, average = torch.arange(15.0).view(5, 3), torch.arange(15.0).view(5, 3) + 100
    folder = path.parent / "shards-7-0"
    folder.mkdir()
    files = {}
    for number, rows in enumerate((slice(0, 3), slice(3, 5))):
        file = folder / f"shard-{number}.safetensors"
        tensors = {"state_dict.a": weight[rows], "optimizer_states.0.2.exp_avg": average[rows]}
        offsets = {name: {"saved_offsets": [rows.start, 0]} for name in tensors}
        if not number:
            tensors["optimizer_states.0.2.step"] = torch.tensor(7.0)
            offsets["optimizer_states.0.2.step"] = {"saved_offsets": []}
        save_file(tensors, file, metadata={"DCP_SHARDING_INFO": json.dumps(offsets)})
        files[file.name] = checksum(file)
    shards = {"folder": folder.name, "files": files, "ties": {"b": "a"}}
    optimizers = [{"state": {2: {"kind": "plain"}}, "param_groups": []}]
    content = {"epoch": 7, "optimizer_states": optimizers, "shards": shards}
    checkpoint_file.save_checkpoint(content, path)
    return content, weight, average


def test_shards_of_any_number_of_processes_are_read_as_one_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    _, weight, average = save_shards(path)
    assert checkpoint_file.find_damage(path) is None
    found = checkpoint_file.load_checkpoint(path)
    assert found.keys() == {"epoch", "state_dict", "optimizer_states"}
    assert found["state_dict"]["a"].equal(weight)
    assert found["state_dict"]["b"].equal(weight)
    entry = found["optimizer_states"][0]["state"][2]
    assert entry["exp_avg"].equal(average)
    assert entry["step"] == 7
    assert entry["kind"] == "plain"
    shapes = read_whole(path, values=False)["state_dict"]
    assert shapes["a"].is_meta
    assert shapes["a"].shape == (5, 3)
    tensors = read_tensors(path)
    assert tensors.keys() == {"a", "b"}
    assert tensors["a"].equal(weight)


@pytest.mark.parametrize("name", ["../shards-7-0", "/etc", ".hidden", 3])
def test_a_folder_of_shards_that_lies_elsewhere_is_refused(tmp_path, name):
    path = tmp_path / "last.ckpt"
    content, *_ = save_shards(path)
    content["shards"]["folder"] = name
    checkpoint_file.save_checkpoint(content, path)
    assert (
        checkpoint_file.find_damage(path) == f"{name!r} is no name of a file beside the checkpoint"
    )
    with pytest.raises(ArgumentError, match="is damaged"):
        checkpoint_file.load_checkpoint(path)


def test_shards_that_claim_more_than_they_hold_are_refused(tmp_path):
    path = tmp_path / "last.ckpt"
    content, weight, _ = save_shards(path)
    file = tmp_path / "shards-7-0" / "shard-1.safetensors"
    offsets = {"state_dict.a": {"saved_offsets": [10**9, 0]}}
    save_file({"state_dict.a": weight}, file, metadata={"DCP_SHARDING_INFO": json.dumps(offsets)})
    content["shards"]["files"][file.name] = checksum(file)
    checkpoint_file.save_checkpoint(content, path)
    with pytest.raises(ArgumentError, match=r"pieces of state_dict\.a are not the whole tensor"):
        checkpoint_file.load_checkpoint(path)
