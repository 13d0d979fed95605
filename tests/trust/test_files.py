"""What is no regular file is refused by name, at every place where a file is read, and nothing
waits for it.
"""

import gzip
import io
import os
import re
import signal
import socket
import struct
import time
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from blocks.graph import ConfigError, build, compose, load_weights
from blocks.graph.weights import read_map
from blocks.support.files import kind_of, memory, open_file, read_file
from tasks.data.base import read_reader_file
from tasks.data.hub.images import HubImages
from tasks.data.images import arrays, idx, image_folder, npz
from tasks.data.published import cifar
from tasks.data.readers.image import ImageReader
from tasks.data.readers.question import QuestionReader
from tasks.data.readers.signal import SignalReader
from tasks.data.readers.text import TextReader
from tasks.data.shards.images import Shards
from tasks.data.text import documents, labelled, translation
from tasks.data.text.tokenizer import Tokenizer
from tasks.data.tokens.folder import TokenFolder
from tasks.resume import adopt, checkpoint_file, start
from tasks.run import load_run

SECONDS = 2  # of CPU
PATIENCE = 30  # seconds by the clock, for what waits
KINDS = {
    "a named pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": None,
    "a folder": Path.mkdir,
    "a file of the kernel": lambda path: path.symlink_to("/proc/self/environ"),
}
ODD = [kind for kind in KINDS if kind != "a folder"]


@contextmanager
def watchdog():
    def late(*_):
        raise AssertionError(f"no answer within {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    begun = time.process_time()
    try:
        yield
        assert time.process_time() - begun < SECONDS
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def make(kind, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a socket":
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            with socket.socket(socket.AF_UNIX) as found:
                found.bind(path.name)
        finally:
            os.chdir(here)
    else:
        KINDS[kind](path)
    return path


def items(reader, path):
    (item,) = reader.items(str(path))
    return item.error


def image_reader():
    return ImageReader(channels=1, height=8, width=8, mean=[0.5], std=[0.5])


def question_reader():
    tokenizer = Tokenizer.train(["how many"], "words")
    return QuestionReader(tokenizer=tokenizer, height=8, width=8, length=9)


def asked(path):
    reader = question_reader()
    reader.ask("how many")
    return items(reader, path)


def text_reader():
    return TextReader(Tokenizer.train(["a b"], "words"), length=9)


def experiment(path):
    return compose(["model=evil"], config_dir=str(path.parents[1]))


def from_run(path):
    """The checkpoint of a run folder that is opened."""
    (path.parents[1] / "config.yaml").write_text("model: {}\n", encoding="utf-8")
    return load_run.open_run(path.parents[1])


def resumed(path):
    return adopt.read_overrides([f"resume={path.parent}"])


def kept_file(path):
    return read_reader_file(path.parent)


PLACES = {
    "data=images": ("set", lambda path: image_folder.Images(str(path)).read()),
    "an image of data=images": (
        "set/cat/a.png",
        lambda path: image_folder.Images(str(path.parents[1])).read(),
    ),
    "data=arrays": ("a.npz", lambda path: arrays.Arrays(str(path)).read()),
    "a file of data=arrays": (
        "set/train-images-idx3-ubyte",
        lambda path: arrays.Arrays(str(path.parent)).read(),
    ),
    "a file of data=cifar10": ("set/data_batch_1.bin", lambda path: cifar.read_cifar(path.parent)),
    "data=text": ("a.txt", lambda path: documents.Documents(str(path)).documents()),
    "a file of data=text": (
        "set/a.txt",
        lambda path: documents.Documents(str(path.parent)).documents(),
    ),
    "data=tokens": ("set/tokens.json", lambda path: TokenFolder(str(path.parent)).read()),
    "data=labelled": ("a.csv", lambda path: labelled.Labelled(str(path)).read()),
    "data=pairs": ("a.tsv", lambda path: translation.Pairs(path=str(path)).read()),
    "data=hub": ("a.parquet", lambda path: HubImages(str(path)).read()),
    "data=shards": ("a.tar", lambda path: Shards(str(path)).read()),
    "weights.load": ("a.pt", lambda path: load_weights(small(), path)),
    "weights.load, safetensors": ("a.safetensors", lambda path: load_weights(small(), path)),
    "weights.map": ("a.yaml", read_map),
    "ckpt_path": ("a.ckpt", lambda path: start.find_checkpoint(None, str(path))),
    "a checkpoint": ("a.ckpt", checkpoint_file.load_checkpoint),
    "resume": ("run/run.json", resumed),
    "a file of a run that is resumed": ("run/metrics.csv", resumed),
    "the checkpoint of a run": ("run/checkpoints/best.ckpt", from_run),
    "the reader of a run": ("run/reader.json", kept_file),
    "a tokenizer": ("run/tokenizer.json", Tokenizer.load),
    "a model of --config-dir": ("conf/model/evil.yaml", experiment),
    "library": ("evil.py", lambda path: build(MODEL, library=[str(path)])),
    "a file of library": ("mine/evil.py", lambda path: build(MODEL, library=[str(path.parent)])),
    "predict, an image": ("a.png", lambda path: items(image_reader(), path)),
    "predict, arrays": ("a.npz", lambda path: items(image_reader(), path)),
    "predict, IDX": ("a-idx3-ubyte", lambda path: items(image_reader(), path)),
    "predict, a table of questions": ("a.csv", lambda path: items(question_reader(), path)),
    "predict, an image with a question": ("a.png", asked),
    "predict, a signal": ("a.csv", lambda path: items(SignalReader(40), path)),
    "predict, texts": ("a.txt", lambda path: items(text_reader(), path)),
    "predict, a table of texts": ("a.csv", lambda path: items(text_reader(), path)),
}
FOLDERS = (
    "data=images",
    "data=arrays",
    "data=text",
    "library",
    "predict",
    "resume",
    "a file of a run",
    "an image of",
    "a file of data=text",
)
MODEL = {"inputs": {"x": [6]}, "graph": {"a": {"block": "ReLU"}}}


def small():
    return build({"inputs": {"x": {"dim": 6}}, "graph": {"a": {"block": "Linear", "features": 5}}})


def told(ask, path):
    """What is answered: an error that a user sees, or a message that is returned."""
    with watchdog():
        try:
            return str(ask(path))
        except (ConfigError, ValueError, OSError) as error:
            return str(error)


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_is_told(place, kind, tmp_path):
    name, ask = PLACES[place]
    answer = told(ask, make(kind, tmp_path / name))
    assert kind in answer
    assert Path(name).name in answer or place.startswith("predict")


@pytest.mark.parametrize("place", [place for place in PLACES if not place.startswith(FOLDERS)])
def test_a_folder_where_a_file_is_meant_is_told(place, tmp_path):
    name, ask = PLACES[place]
    answer = told(ask, make("a folder", tmp_path / name))
    assert "folder" in answer


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "a").write_text("x", encoding="utf-8")
    (tmp_path / "b").symlink_to("a")
    assert read_file(tmp_path / "b") == b"x"
    assert kind_of(tmp_path / "b") is kind_of(tmp_path / "nothing") is None


def test_a_file_that_becomes_a_pipe_is_not_waited_for(tmp_path, monkeypatch):
    """The first look sees a file, the second what was opened."""
    pipe = make("a named pipe", tmp_path / "a")
    (tmp_path / "b").write_text("x", encoding="utf-8")
    before = os.stat(tmp_path / "b")
    monkeypatch.setattr(os, "stat", lambda path, **_: before)
    with watchdog(), pytest.raises(OSError, match="named pipe"):
        open_file(pipe)


def sparse(path, size):
    with path.open("wb") as file:
        file.write(b"a\n" * 9000)
        file.truncate(size)
    return path


def test_what_is_larger_than_memory_is_told_before_it_is_read(tmp_path):
    size = 2 * memory()
    for place in ("a file of data=text", "data=labelled", "predict, texts", "predict, a signal"):
        name, ask = PLACES[place]
        (tmp_path / name).parent.mkdir(exist_ok=True)
        assert "GB of memory here" in told(ask, sparse(tmp_path / name, size)), place
    header = (2).to_bytes(8, "little") + b"{}"
    (tmp_path / "a.safetensors").write_bytes(header)
    os.truncate(tmp_path / "a.safetensors", size)
    assert "GB of memory here" in told(PLACES["weights.load"][1], tmp_path / "a.safetensors")


def packed_arrays(path, count):
    """A .npz file with so many bytes of zeros, written without holding them."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x_train.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (count // 64, 8, 8)}
        )
        for _ in range(count // 10_000_000):
            file.write(bytes(10_000_000))


def test_what_unpacks_without_measure_is_told(tmp_path):
    packed_arrays(tmp_path / "a.npz", 200_000_000)
    assert "over 200 times as much" in told(PLACES["data=arrays"][1], tmp_path / "a.npz")
    name = tmp_path / "a-idx3-ubyte.gz"
    for shape in ((3000, 300, 300), (2**31, 2**31, 2**31)):
        header = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in shape)
        name.write_bytes(gzip.compress(header + bytes(1_000_000)))
        assert re.search("over 200 times as much|GB of memory here", told(idx.read_idx, name))
    name.write_bytes(gzip.compress(b"\0\0\x08\x03" + (b"\0\0\0\x02" * 3) + bytes(90_000_000)))
    assert "is broken" in told(idx.read_idx, name)


def test_an_array_that_claims_more_than_it_holds_is_told(tmp_path):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (10**15,)}
    )
    (tmp_path / "a.npy").write_bytes(file.getvalue())
    assert "cannot be read" in told(npz.read_npz, tmp_path / "a.npy")


def test_an_image_that_unpacks_without_measure_is_told(tmp_path):
    line = zlib.compress(bytes(30_001) * 100)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0),
        b"IDAT": line,
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
        for tag, body in parts.items()
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert "decompression bomb" in told(PLACES["predict, an image"][1], tmp_path / "a.png")
