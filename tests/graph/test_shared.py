"""Shared models: `model=FOLDER` and `model=hub:USER/NAME@REVISION`, and what is refused in them."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml

from blocks.graph import ConfigError, build, compose, save_weights
from blocks.graph.compose.combinations import swept_by_files
from blocks.support.share.hub import HubError, check_sizes

ROOT = Path(__file__).resolve().parents[2]
FACTS = {"image": {"channels": 1, "height": 6, "width": 10}, "classes": 7}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a model, its weights and what must not be read, and the network itself."""
    folder = tmp_path_factory.mktemp("shared") / "my model"
    folder.mkdir()
    overrides = ["params.depth=1", "params.dim=6", "params.heads=2"]
    network = build("vit", overrides, FACTS).eval()
    model = compose(["model=vit", *(f"model.{text}" for text in overrides)]).config["model"]
    text = yaml.safe_dump({**model, "example": FACTS}, sort_keys=False)
    (folder / "model.yaml").write_text(text, encoding="utf-8")
    save_weights(network, folder / "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Boom(str(folder / "EXECUTED"))))
    (folder / "my_blocks.py").write_text("raise SystemExit('EXECUTED')", encoding="utf-8")
    return folder, network


class Boom:
    """A pickle that creates a file when it is read."""

    def __init__(self, mark: str):
        self.mark = mark

    def __reduce__(self):
        return open, (self.mark, "w")


@pytest.fixture
def shared(made, tmp_path, monkeypatch):
    """A copy of the folder, in which the working directory is."""
    folder = tmp_path / "my model"
    shutil.copytree(made[0], folder)
    monkeypatch.chdir(folder)
    return folder


def logits(network):
    images = torch.randn(3, 1, 6, 10, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network.eval()(images)["logits"]


def message(*words, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(list(words), **options)
    return str(caught.value)


def test_a_folder_gives_the_network_to_the_bit_and_runs_nothing(made, shared, monkeypatch):
    expected = logits(made[1])
    monkeypatch.chdir(shared.parent)
    for name in ("./my model", "my model/", str(shared)):
        assert torch.equal(logits(build(name)), expected)
    monkeypatch.chdir(shared)
    assert torch.equal(logits(build(".")), expected)
    assert not torch.equal(logits(build(".", ["weights.load=null"])), expected)
    assert not (shared / "EXECUTED").exists()


def test_weights_are_loaded_unless_the_command_line_says_otherwise(shared):
    composed = compose(["model=.", "model.params.dropout=0.5"])
    assert composed.config["weights"]["load"] == str(shared / "model.safetensors")
    assert (
        composed.config["model"]["params"] | {"dropout": 0.5} == composed.config["model"]["params"]
    )
    assert composed.choices["model"] == "my model"
    assert composed.overrides[0] == f"model={shared}"
    assert composed.origin("model.params.depth").file == str(shared / "model.yaml")
    assert compose(["model=.", "weights.load=null"]).config["weights"]["load"] is None
    assert compose(["model=.", "weights.load=x"]).config["weights"]["load"] == "x"
    assert compose(["model=vit"]).config["weights"]["load"] is None


def test_a_run_folder_names_a_folder_but_fetches_nothing(shared):
    assert compose(adopted=[f"model={shared}"]).shared == str(shared)
    assert message(adopted=[f"model=hub:user/tiny@{COMMIT}"]) == (
        f"hub:user/tiny@{COMMIT}:1:1\n"
        "  models of the Hub are fetched only where the command line names them\n"
        f"  fix       write model=hub:user/tiny@{COMMIT} on the command line"
    )


def test_an_agent_fetches_nothing_and_opens_folders_of_its_project_alone(shared, monkeypatch):
    monkeypatch.setenv("DOUGONG_CONFINED", str(shared))
    assert compose(["model=./"]).shared == str(shared)
    assert "nothing outside the project is read or written" in message("model=..")
    assert "fetched by the command line alone" in message("model=hub:user/tiny")
    assert not (shared / "EXECUTED").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# @package _global_\n", "a shared model sets the section model alone"),
        ("defaults: [/data: digits]\n", "chooses options of its slots, and no other files"),
        ("defaults: ['override /data': digits]\n", "chooses options of its slots"),
        ("defaults: [../train]\n", "chooses options of its slots"),
        ("defaults: [{norm: ../../train}]\n", "chooses options of its slots"),
        ("defaults: [{norm: 'hub:user/tiny'}]\n", "chooses options of its slots"),
        ("defaults: ['norm@_global_': rmsnorm]\n", "chooses options of its slots"),
        ("hydra: {run: {dir: /srv}}\n", "may not change how Hydra runs"),
        ("x: ${oc.env:HOME}\n", "may read the environment in the section data only"),
        ("x: ${oc.decode:x}\n", "may name another key"),
        ("x: !!python/object/apply:os.system [x]\n", "a tag asks for more than plain values"),
    ],
)
def test_the_yaml_sets_the_model_alone_and_keeps_the_rules(shared, text, told):
    file = shared / "model.yaml"
    file.write_text(text + file.read_text(encoding="utf-8"), encoding="utf-8")
    assert told in message("model=.")


def test_library_in_the_yaml_is_no_word_of_a_model(shared):
    file = shared / "model.yaml"
    file.write_text(f"library: ['.']\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
    with pytest.raises(ConfigError, match="no section 'library' in a model"):
        build(".")


@pytest.mark.parametrize("name", ["model.yaml", "model.safetensors"])
def test_a_link_out_of_the_folder_is_refused(shared, name):
    moved = shared.parent / name
    (shared / name).rename(moved)
    (shared / name).symlink_to(moved)
    found = message("model=.")
    assert "this file is a link that leads out of the folder" in found
    assert f"got       {moved}" in found


def test_weights_that_are_a_pickle_are_refused_whatever_their_name(shared):
    torch.save({"a": torch.zeros(2)}, shared / "model.safetensors")
    assert message("model=.") == (
        f"{shared / 'model.safetensors'}\n"
        "  the weights of a shared model are read from safetensors alone\n"
        "  fix       weights.load=null takes the architecture alone"
    )
    assert compose(["model=.", "weights.load=null"]).shared == str(shared)


def test_a_folder_without_a_model_is_reported_with_what_it_holds(shared):
    (shared / "model.yaml").unlink()
    found = message("model=.")
    assert "no model.yaml in this folder" in found
    assert "got       pytorch_model.bin, which are not read: pickles can run code" in found
    (shared / "run.json").write_text("{}", encoding="utf-8")
    assert f"python -m tasks export {shared} --to hub" in message("model=.")
    assert "there is no such folder" in message("model=./nowhere")


@pytest.mark.parametrize(
    "name",
    ["hub:../x", "hub:user", "hub:user/../x", "hub:user/x@../y", "hub:user/x/y", "hub:https://x/y"],
)
def test_an_address_of_the_hub_has_a_user_and_a_name(name):
    assert "no model of the Hub has this name" in message(f"model={name}")


@pytest.mark.parametrize("option", ["hub:user/tiny@main", "/srv/x"])
def test_a_file_may_neither_fetch_nor_open_a_folder(tmp_path, option):
    experiment = tmp_path / "experiment"
    experiment.mkdir()
    file = experiment / "evil.yaml"
    file.write_text(
        f"# @package _global_\ndefaults: ['override /model': '{option}']\n", encoding="utf-8"
    )
    message("experiment=evil", config_dir=str(tmp_path))
    file.write_text(
        f"# @package _global_\nhydra: {{sweeper: {{params: {{model: '{option},vit'}}}}}}\n",
        encoding="utf-8",
    )
    assert swept_by_files(["experiment=evil"], config_dir=str(tmp_path)) == []
    assert "may sweep numbers and words" in message("experiment=evil", config_dir=str(tmp_path))


def test_a_folder_that_a_file_chose_is_refused(shared, tmp_path):
    experiment = tmp_path / "experiment"
    experiment.mkdir()
    (experiment / "evil.yaml").write_text(
        f"# @package _global_\ndefaults: ['override /model': '{shared}']\n", encoding="utf-8"
    )
    assert "is chosen on the command line, not in a file" in message(
        "experiment=evil", config_dir=str(tmp_path)
    )


def test_only_the_files_of_a_model_are_fetched_and_not_what_is_too_large():
    sizes = {"model.yaml": 900, "model.safetensors": 10**6, "pytorch_model.bin": 10, "x.py": 1}
    assert check_sizes("user/tiny", sizes) == ["model.yaml", "model.safetensors"]
    assert check_sizes("user/tiny", {"model.yaml": 900}) == ["model.yaml"]
    with pytest.raises(HubError, match=r"user/tiny has no model\.yaml"):
        check_sizes("user/tiny", {"x.py": 1})
    with pytest.raises(HubError, match=r"model\.yaml is too large"):
        check_sizes("user/tiny", {"model.yaml": 10**7})
    with pytest.raises(HubError, match="the weights of user/tiny are too large"):
        check_sizes("user/tiny", {"model.yaml": 900, "model.safetensors": 10**16})


class Hub(BaseHTTPRequestHandler):
    """What the client needs of the Hugging Face Hub: one repository, `user/tiny`."""

    folder: Path
    asked: list[str]

    def do_GET(self):
        self.answer(body=True)

    def do_HEAD(self):
        self.answer(body=False)

    def answer(self, body: bool):
        path = self.path.partition("?")[0]
        self.asked.append(f"{self.command} {path}")
        if path == "/api/models/user/tiny/revision/main":
            files = sorted(file for file in self.folder.iterdir() if file.is_file())
            siblings = [{"rfilename": file.name, "size": file.stat().st_size} for file in files]
            found = {"id": "user/tiny", "sha": COMMIT, "siblings": siblings}
            self.reply(200, json.dumps(found).encode(), {"Content-Type": "application/json"}, body)
            return
        starts = ("/user/tiny/resolve/main/", f"/user/tiny/resolve/{COMMIT}/")
        if path.startswith(starts):
            file = self.folder / path.rpartition("/")[2]
            headers = {"ETag": f'"{file.name}"', "X-Repo-Commit": COMMIT}
            self.reply(200, file.read_bytes(), headers, body)
            return
        self.reply(404, b"", {"X-Error-Code": "RepoNotFound"}, body)

    def reply(self, status: int, content: bytes, headers: dict[str, str], body: bool):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


TRIES = """
import sys
import torch
from blocks.graph import ConfigError, build, compose
for word in sys.argv[1:]:
    try:
        found = compose([f"model={word}"])
        images = torch.randn(3, 1, 6, 10, generator=torch.Generator().manual_seed(0))
        total = build(word).eval()(images)["logits"].double().sum().item()
        print("opened", found.overrides[0], repr(total))
    except ConfigError as error:
        print(error)
"""


def try_models(home: Path, endpoint: str, *names: str) -> tuple[list[str], str]:
    """Open models in a process of its own; the client reads its address when it is imported."""
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", TRIES, *names],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.slow
def test_a_model_of_the_hub_is_fetched_once_and_then_opened_without_a_network(made, tmp_path):
    folder, network = made
    total = repr(logits(network).double().sum().item())
    Hub.folder, Hub.asked = folder, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        out, err = try_models(tmp_path, endpoint, "hub:user/tiny", "hub:user/none")
    finally:
        server.shutdown()
        server.server_close()
    opened = f"opened model=hub:user/tiny@{COMMIT} {total}"
    assert out[0] == opened
    assert out[1] == "the command line: model=hub:user/none"
    assert out[2] == "  the Hub has no user/none, or not for you"
    assert f"model hub:user/tiny@{COMMIT}, which is main now" in err
    files = {line.rpartition("/")[2] for line in Hub.asked if "/resolve/" in line}
    assert files == {"model.yaml", "model.safetensors"}

    names = ("hub:user/tiny", f"hub:user/tiny@{COMMIT}", "hub:user/other@v2")
    out, err = try_models(tmp_path, endpoint, *names)
    assert out[:2] == [opened, opened]
    assert f"model hub:user/tiny@{COMMIT}, main of the cache: the Hub cannot be reached" in err
    cache = tmp_path / "hub"
    assert out[3] == f"  user/other is not in the cache {cache}, and the Hub cannot be reached"
    assert out[5] == (
        "  fix       where there is a network: hf download user/other model.yaml "
        "model.safetensors --revision v2"
    )
