"""Folders of tokens: what data=text reads from the same texts, whatever the number of processes;
whole or not there; read by index.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.data.permutation import Permutation, random_rows
from tasks.data.sampler import Order
from tasks.data.split import PARTS
from tasks.data.text import tokenizer as tokenizer_module
from tasks.data.text.documents import Documents
from tasks.data.text.tokenizer import START, Tokenizer, byte_alphabet, pieces
from tasks.data.tokens.encode import open_pool
from tasks.data.tokens.folder import TokenFolder
from tasks.data.tokens.header import HEADER
from tasks.data.tokens.windows import Windows
from tasks.data.tokens.write import Options, write_tokens
from tasks.errors import ArgumentError, SampleError

ROOT = Path(__file__).resolve().parents[2]
NEGATIVE = {"tokens": -1, "characters": 1, "bytes": 1}
QUIET = lambda part, characters: None  # noqa: E731


def write_corpus(folder: Path, count: int = 30) -> Path:
    """Documents with line feeds of all kinds and signs of one to four bytes."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        text = f"page {number} says naïve 中文 🙂\r\n{'abcdefg'[number % 7] * 13}.\r" * 5
        (folder / f"{number:02d}.txt").write_bytes(text.encode())
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def written(corpus, tmp_path_factory):
    """A folder of tokens; nothing writes into it."""
    folder = tmp_path_factory.mktemp("written") / "tokens"
    write_tokens([corpus], folder, Options(vocab=300), QUIET)
    return folder


@pytest.fixture
def copied(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "tokens"))


def all_windows(data):
    data.read()
    return {part: data.cut(part, torch.arange(data.sizes()[part])) for part in PARTS}


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "bpe"])
@pytest.mark.parametrize("count", [30, 2])
def test_the_windows_are_those_of_the_texts_themselves(tmp_path, monkeypatch, kind, count):
    monkeypatch.setattr(tokenizer_module, "PIECE", 70)
    source = write_corpus(tmp_path / "texts", count)
    options = {"tokenizer": kind, "vocab": 300, "val": 0.2, "test": 0.2}
    write_tokens([source], tmp_path / "tokens", Options(**options, seed=3), QUIET)
    for mask in (0.0, 0.3):
        shared = {"length": 7, "mask": mask, "split_seed": 3}
        texts = Documents(path=str(source), **shared, **options)
        tokens = TokenFolder(path=str(tmp_path / "tokens"), **shared)
        expected, found = all_windows(texts), all_windows(tokens)
        for part in PARTS:
            for name in ("tokens", "label"):
                assert torch.equal(found[part][name], expected[part][name])
        assert tokens.facts() == texts.facts()
        assert tokens.tokens_per_character == texts.tokens_per_character
        assert tokens.unknown_bits_per_character == texts.unknown_bits_per_character
        assert set(texts.notes) <= set(tokens.notes)


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_number_of_processes(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer_module, "PIECE", 70)
    for count in (1, 2, 3):
        write_tokens([corpus], tmp_path / f"{count}", Options(vocab=300, processes=count), QUIET)
    for file in sorted((tmp_path / "1").iterdir()):
        for other in ("2", "3"):
            assert (tmp_path / other / file.name).read_bytes() == file.read_bytes()


def test_pieces_do_not_depend_on_how_a_text_is_handed_over(monkeypatch):
    monkeypatch.setattr(tokenizer_module, "PIECE", 11)
    text = "a line\nand a longer one that is cut\n\n" * 9 + "x" * 100
    whole = list(pieces([text]))
    assert "".join(whole) == text
    assert max(map(len, whole)) == 22
    for width in (1, 7, 40):
        assert list(pieces(text[at : at + width] for at in range(0, len(text), width))) == whole
    assert [piece for part in whole for piece in pieces([part])] == whole


def test_bytes_are_those_of_the_library():
    tokenizer = Tokenizer.train([], "bytes")
    text = "naïve\n\t 中文 🙂" + "".join(map(chr, range(1, 1000)))
    ids = tokenizer.encode(text)
    assert tokenizer.vocab == 261
    assert ids == tokenizer.trained.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == text
    assert len(set(byte_alphabet())) == 256


@pytest.mark.slow
def test_a_vocabulary_beyond_16_bits_takes_32():
    words = [" ".join(f"w{number:05d}" for number in range(70_000))]
    tokenizer = Tokenizer.train(words, "words", 80_000)
    ids = tokenizer.encode_array(words[0][:70])
    assert ids.dtype == np.dtype("<u4")
    assert ids.tolist() == tokenizer.encode(words[0][:70])


@pytest.mark.parametrize("length", [3, 4, 5, 8, 9])
@pytest.mark.parametrize("ahead", [0, 1])
def test_every_token_is_asked_for_once(length, ahead):
    ids = np.arange(100, 110, dtype=np.uint16)
    windows = Windows(ids, length, ahead)
    found = windows.take(torch.arange(len(windows)))
    asked = found["label"][found["label"] >= 0]
    assert asked.tolist() == ids[ahead:].tolist()
    if ahead:
        assert torch.equal(found["label"][:-1], found["tokens"][:-1] + 1)


# Damage -------------------------------------------------------------------------------------------


def rewrite(folder, **changes):
    path = folder / HEADER
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(content), encoding="utf-8")


def told(folder, error=ArgumentError, **options):
    data = TokenFolder(path=str(folder), length=8, **options)
    with pytest.raises(error) as caught:
        data.read()
    return str(caught.value).replace(str(folder), "FOLDER")


def test_a_file_that_is_cut_off_is_told(copied):
    path = copied / "val.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-2])
    assert told(copied) == (
        f"FOLDER/val.bin is cut off or damaged; got {len(content) - 2:,} bytes; "
        f"fits: {len(content):,} bytes, {len(content) // 2:,} tokens, as tokens.json states; "
        "fix: python -m tasks tokenize FILES -o FOLDER, after it is removed"
    )
    path.unlink()
    assert told(copied) == "FOLDER/val.bin cannot be read: No such file or directory"


def test_another_version_is_told(copied):
    rewrite(copied, version=2)
    assert told(copied) == (
        "FOLDER/tokens.json is of another version of the format; got version 2; fits: version 1; "
        "fix: python -m tasks tokenize FILES -o FOLDER"
    )


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"format": "other"}, "the format 'other'"),
        ({"dtype": "O"}, "the type 'O'"),
        ({"parts": {}}, "'train'"),
        ({"parts": dict.fromkeys(PARTS, NEGATIVE)}, "-1 tokens in the part train"),
    ],
)
def test_a_damaged_header_is_told(copied, changes, got):
    rewrite(copied, **changes)
    assert told(copied).startswith(f"FOLDER/tokens.json is damaged; got {got}")


def test_a_folder_of_another_kind_is_told(corpus, written):
    assert told(corpus) == (
        "FOLDER is no folder of tokens; got no tokens.json in it; "
        "fits: a folder that `tokenize` wrote; fix: python -m tasks tokenize FILES -o FOLDER; "
        "texts themselves are read by data=text"
    )
    with pytest.raises(ArgumentError) as caught:
        Documents(path=str(written)).documents()
    assert str(caught.value) == (
        f"{written} is a folder of tokens, not of texts; got tokens.json; "
        f"fix: data=tokens data.path={written}"
    )


def test_another_tokenizer_is_told(corpus, written, copied, tmp_path):
    data = TokenFolder(path=str(written), length=8)
    data.tokenizer = Tokenizer.train(["other"], "bytes")
    with pytest.raises(ArgumentError, match=r"with another tokenizer than the run's; got bpe, 300"):
        data.read()
    Tokenizer.train(["other"], "bytes").save(copied / "tokenizer.json")
    assert told(copied).startswith(
        "FOLDER/tokenizer.json is not the tokenizer that the folder was written with; got SHA-256 "
    )
    # the tokenizer of a run encodes other texts, and the run reads them
    write_tokens([corpus], tmp_path / "again", Options(tokenizer=str(written)), QUIET)
    again = TokenFolder(path=str(tmp_path / "again"), length=8)
    again.restore(written)
    again.read()
    assert (tmp_path / "again" / "train.bin").read_bytes() == (written / "train.bin").read_bytes()


def test_a_token_that_the_vocabulary_has_not_is_told(copied):
    data = TokenFolder(path=str(copied), length=8)
    data.read()
    ids = np.fromfile(copied / "train.bin", "<u2")
    ids[21] = 300
    ids.tofile(copied / "train.bin")
    assert ids[0] == START
    data = TokenFolder(path=str(copied), length=8)
    data.read()
    data.cut("train", torch.tensor([0, 1, 3]))
    with pytest.raises(SampleError, match=r"train\.bin is damaged: token 300 at place 21, not bel"):
        data.cut("train", torch.tensor([0, 2]))


# Writing ------------------------------------------------------------------------------------------


def fail(corpus, output, error=ArgumentError, report=QUIET, **options):
    with pytest.raises(error) as caught:
        write_tokens(corpus, output, Options(**{"vocab": 300, **options}), report)
    return str(caught.value)


def test_nothing_is_left_of_what_was_stopped(corpus, tmp_path):
    def stop(part, characters):
        if part == "val":
            raise KeyboardInterrupt

    abandoned = tmp_path / ".tokens.999999999.part"
    abandoned.mkdir()
    fail([corpus], tmp_path / "tokens", KeyboardInterrupt, stop)
    assert list(tmp_path.iterdir()) == []
    write_tokens([corpus], tmp_path / "tokens", Options(vocab=300), QUIET)
    assert fail([corpus], tmp_path / "tokens") == (
        f"{tmp_path / 'tokens'} exists; fits: a new folder; fix: another -o, or remove it"
    )


def test_what_cannot_be_encoded_is_told(corpus, tmp_path):
    bad, empty = tmp_path / "bad.txt", tmp_path / "empty.txt"
    bad.write_bytes("né\n".encode() * 600_000 + b"caf\xe9\n")
    empty.write_text(" \n", encoding="utf-8")
    out = tmp_path / "out"
    assert fail([bad], out) == (
        f"{bad} is not in UTF-8; got byte 0xe9 in line 600001; fix: save it as UTF-8, e.g. "
        "iconv -f WINDOWS-1252 -t UTF-8 bad.txt > new.txt"
    )
    assert fail([empty], out) == f"{empty} is empty; fits: a file of text"
    assert "no such" in fail([tmp_path / "none"], out).replace("does not exist", "no such")
    (tmp_path / "short.txt").write_text("ab", encoding="utf-8")
    assert fail([tmp_path / "short.txt"], out) == (
        "the part val has no text; got 2 characters in 1 documents; fits: a longer corpus"
    )
    message = fail([corpus], out, tokenizer="bpee")
    assert message.endswith("fits: characters, bytes, words, bpe, a tokenizer.json")
    assert "greater than zero" in fail([corpus], out, val=0.0)
    assert not out.exists()


def test_a_text_that_changes_meanwhile_is_told(tmp_path):
    source = write_corpus(tmp_path / "texts")

    def change(part, characters):
        (source / "07.txt").write_text("other", encoding="utf-8")
        for number in range(30):
            (source / f"{number:02d}.txt").write_text("other", encoding="utf-8")

    assert "the texts changed while they were read" in fail(
        [source], tmp_path / "out", SampleError, change
    )


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(tmp_path):
    source = write_corpus(tmp_path / "texts", 3)
    (source / "long.txt").write_text("a line of words\n" * 3_000_000, encoding="utf-8")
    words = ["tokenize", source, "-o", "out", "--tokenizer", "characters", "--processes", "2"]
    for second in (0.0, 1.0):
        with subprocess.Popen(
            [sys.executable, str(ROOT / "dougong" / "__main__.py"), *map(str, words)],
            cwd=tmp_path,
            start_new_session=True,
        ) as process:
            while not list(tmp_path.glob(".out.*.part")):
                time.sleep(0.01)
            time.sleep(second)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(60) == 130
        assert [path.name for path in tmp_path.iterdir()] == ["texts"]


@pytest.mark.slow
def test_a_process_that_is_ended_is_told(corpus, tmp_path):
    with open_pool(2) as pool:
        results = pool.map(len, iter(["a", "bb", "ccc", "dddd"]))
        assert next(results) == 1
        for worker in pool.workers:
            worker.process.kill()
        with pytest.raises(SampleError, match="a process that reads the texts was ended"):
            list(results)


# Order --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 97, 1000, 4097, 16_384])
def test_a_permutation_without_memory_has_every_number_once(size):
    every = torch.arange(size)
    found = Permutation(size, 3)(every)
    assert torch.equal(found.sort().values, every)
    assert torch.equal(Permutation(size, 3)(every.flip(0)), found.flip(0))
    if size > 100:
        for other in (Permutation(size, 4)(every), every):
            assert (found == other).sum() < 10
        pairs = torch.stack([found[:-1], found[1:], every[1:]]).double()
        assert torch.corrcoef(pairs).triu(1).abs().max() < 4 / size**0.5


def test_random_rows_do_not_depend_on_their_neighbours():
    rows = random_rows(1, torch.arange(5000), 7)
    assert torch.equal(random_rows(1, torch.tensor([31, 3]), 7), rows[[31, 3]])
    assert not torch.equal(random_rows(2, torch.arange(5000), 7), rows)
    assert float(rows.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(rows.std()) == pytest.approx(12**-0.5, abs=0.01)
    assert torch.corrcoef(rows.T).triu(1).abs().max() < 0.06


@pytest.mark.parametrize("large", [10, 10**9])
def test_a_large_order_is_shared_and_resumed_as_a_small_one(monkeypatch, large):
    monkeypatch.setattr("tasks.data.sampler.LARGE", large)
    make = partial(Order, 101, shuffle=True, seed=5)
    shares = [make(rank=rank, world=3).indices() for rank in range(3)]
    assert [len(share) for share in shares] == [33, 33, 33]
    assert len(set(torch.cat(shares).tolist())) == 99
    whole = make().indices()
    assert torch.equal(torch.stack(shares, 1).flatten(), whole[:99])
    assert torch.equal(torch.cat([*make().stretches(7, 13)]), whole[13:])
    order = make()
    order.passed = (0, 40)
    assert [index for _, index in order] == whole[40:].tolist()
    order.set_epoch(1)
    assert not torch.equal(order.indices(), whole)


def test_an_epoch_is_resumed_in_its_middle(written):
    def batches(state=None):
        data = TokenFolder(path=str(written), length=8, batch_size=3, mask=0.2)
        data.read()
        loader = data.train_dataloader()
        if state:
            loader.load_state_dict(state)
        for batch in loader:
            yield batch, loader.state_dict()

    whole = list(batches())
    for done in (1, 5):
        rest = [batch for batch, _ in batches(whole[done - 1][1])]
        assert len(rest) == len(whole) - done
        for batch, (expected, _) in zip(rest, whole[done:], strict=True):
            for name, value in expected.items():
                assert torch.equal(batch[name], value)


# From the command line ----------------------------------------------------------------------------


def call(*words, cwd):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_corpus_is_encoded_trained_on_by_two_processes_and_generated_from(corpus, tmp_path):
    said = call(
        ROOT / "dougong" / "__main__.py", "tokenize", corpus, "-o", "tokens", "--vocab", "300",
        cwd=tmp_path,
    )  # fmt: skip
    assert "note: 30 files, " in said
    small = ["model=gpt", "params.depth=1", "params.dim=16", "params.heads=2", "data.length=8"]
    small = [word.replace("params", "model.params") for word in small]
    call(
        ROOT / "train.py", *small, "task=language", "data=tokens", "data.path=tokens",
        "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.max_epochs=1",
        "hydra.run.dir=run", cwd=tmp_path,
    )  # fmt: skip
    assert json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))["test"]
    assert call("-m", "tasks", "generate", tmp_path / "run", "--prompt", "page", cwd=ROOT)
