"""The process of `watch`: it answers after each edit, and for other processes to the byte."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.__main__ import main
from blocks.watch import place

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no server")
PATIENCE = 120  # seconds, on a machine with many other tests
MODEL = """defaults: [norm: layernorm, _self_]
params: {{dim: {dim}}}
inputs: {{image: data.image}}
graph: {{flat: {{block: Flatten}}, wide: {{block: Linear, features: dim}}, norm: {{use: norm}}}}
"""
CLIENT = """
import sys
from blocks.watch.client import ask
status = ask(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(77 if status is None else status)
"""
ALONE = 77  # the status of the client above where it would have to answer itself


class Watcher:
    """A running `python -m blocks watch explain model=own`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.env = {name: os.environ[name] for name in os.environ if name != "PYTEST_CURRENT_TEST"}
        self.env |= {"XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": str(ROOT)}
        (folder / "yaml" / "model").mkdir(parents=True)
        self.save(23)
        self.answers, self.notes = folder / "answers.txt", folder / "notes.txt"
        words = ["watch", "explain", "model=own", "--config-dir", str(folder / "yaml")]
        with self.answers.open("wb") as out, self.notes.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "blocks", *words],
                cwd=folder,
                env=self.env,
                stdout=out,
                stderr=err,
            )
        self.wait_for("(batch, 23)")

    def save(self, dim: int) -> None:
        self.write(MODEL.format(dim=dim))

    def write(self, text: str) -> None:
        (self.folder / "yaml" / "model" / "own.yaml").write_text(text, encoding="utf-8")

    def wait_for(self, text: str, in_notes: bool = False) -> None:
        file = self.notes if in_notes else self.answers
        end = time.monotonic() + PATIENCE
        while text not in file.read_text(encoding="utf-8"):
            assert time.monotonic() < end, self.notes.read_text(encoding="utf-8")
            assert self.process.poll() is None, self.notes.read_text(encoding="utf-8")
            time.sleep(0.02)

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.env | env, capture_output=True
        )

    def ask(self, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
        """The resident process's answer; status `ALONE` where it gives none."""
        return self.run("-c", CLIENT, *words, **env)


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    found = Watcher(tmp_path_factory.mktemp("watch"))
    yield found
    found.process.kill()
    found.process.wait()


def test_it_answers_again_after_each_edit(watcher):
    watcher.save(29)
    watcher.wait_for("(batch, 29)")
    watcher.write("graph: [")
    watcher.wait_for("not YAML", in_notes=True)
    (watcher.folder / "yaml" / "model" / "own.yaml").unlink()
    watcher.wait_for("own", in_notes=True)
    watcher.save(31)
    watcher.wait_for("(batch, 31)")


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "model=vit", "--depth", "1"),
        pytest.param(("explain", "model=vit_ti16", "--json"), marks=pytest.mark.slow),
        ("explain", "model=vitt"),
        pytest.param(("explain", "model.params.heads=7"), marks=pytest.mark.slow),
        ("check", "model=vit", "model.params.dim=32,64"),
        ("diff", "model=vit", "model=vit,model/residual=postnorm"),
    ],
)
def test_an_answer_is_that_of_the_command_alone(watcher, words):
    asked = watcher.ask(*words)
    alone = watcher.run("-m", "blocks", *words, DOUGONG_NO_SERVER="1")
    assert asked.returncode == alone.returncode != ALONE
    assert asked.stdout == alone.stdout
    assert asked.stderr == alone.stderr
    assert alone.stdout or alone.stderr


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (("explain", "model=vit", "--no-server"), {}),
        (("explain", "model=vit"), {"DOUGONG_NO_SERVER": "1"}),
        (("explain", "model=vit"), {"DOUGONG_DEBUG": "1"}),
        (("explain", "model=vit"), {"SOMETHING": "that a file may read"}),
        (("explain", "library=[own]"), {}),
        (("explain", "--help"), {}),
        (("explain", "model=vit", "--dpth", "1"), {}),
        (("diff", "model=vit", "model=swin", "--html", "x.html"), {}),
        (("catalog",), {}),
        ((), {}),
    ],
)
def test_it_leaves_other_questions_to_the_client(watcher, words, env):
    asked = watcher.ask(*words, **env)
    if "--dpth" in words:  # a mistake is answered like any other
        assert asked.returncode == 2
        return
    assert (asked.returncode, asked.stdout) == (ALONE, b"")


def test_a_busy_process_is_not_waited_for(watcher):
    watcher.process.send_signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        assert watcher.ask("explain", "model=vit").returncode == ALONE
        assert time.monotonic() - start < PATIENCE
    finally:
        watcher.process.send_signal(signal.SIGCONT)


def test_nobody_else_may_open_the_socket(watcher):
    (folder,) = watcher.folder.glob("dougong-*")
    (file,) = folder.glob("*.sock")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    folder.chmod(0o755)
    try:
        assert not place.is_private(folder)
        assert watcher.ask("explain", "model=vit").returncode == ALONE
    finally:
        folder.chmod(0o700)


def test_what_is_no_question_is_ignored(watcher):
    (file,) = watcher.folder.glob("dougong-*/*.sock")
    for content in (b"", b"\0\0\0\2{}", b"\xff\xff\xff\xff", b"\0\0\0\4null"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(file))
            connection.sendall(content)
            connection.settimeout(PATIENCE)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
    assert watcher.ask("explain", "model=vit").returncode == 0


def test_ctrl_c_ends_it_and_removes_the_socket(tmp_path):
    found = Watcher(tmp_path)
    found.process.send_signal(signal.SIGINT)
    assert found.process.wait(PATIENCE) == 130
    assert not list(tmp_path.glob("dougong-*/*.sock"))
    assert b"Traceback" not in found.notes.read_bytes()
    assert found.ask("explain", "model=vit").returncode == ALONE


def test_a_folder_that_is_a_link_is_not_private(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert place.is_private(tmp_path / "real")
    assert not place.is_private(tmp_path / "link")
    assert not place.is_private(tmp_path / "absent")


def test_help_of_the_question_is_printed_once(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["watch", "explain", "model=vit", "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: python -m blocks explain")
