"""What an agent, or a file that it brings, tries to read, write or run outside the project."""

import os
from pathlib import Path

import pytest

from blocks.graph import ConfigError, compose
from blocks.support.files import CONFINED, FileError, open_file
from tasks.data.walk import Walk
from tests.agents.test_tools import TOOLS

SECRET = "a secret beside the project"


@pytest.fixture
def confined(tmp_path, monkeypatch):
    """A project that this process is confined to, beside a secret."""
    folder = tmp_path / "project"
    (folder / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "secret.yaml").write_text(f"# {SECRET}\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv(CONFINED, str(folder))
    return folder


REFUSED = {
    "library=[my_blocks]": "may not set library",
    "+library=[x]": "may not set library",
    "trust=os.system": "may not set trust",
    "limits.modules=100000": "may not set limits",
    "~limits": "may not set limits",
    "runs=elsewhere": "may not set runs",
    "hydra.run.dir=elsewhere": "may not set hydra",
    "hydra.searchpath=['file:///etc']": "may not set hydra",
    "hydra/launcher=ray": "may not set hydra",
    "--multirun": "options are not accepted",
    "-cd=/etc": "options are not accepted",
    "data.path=/etc": "nothing outside the project",
    "data.path=~/photos": "nothing outside the project",
    "data.path=../photos": "nothing outside the project",
    "data.path=a/../../photos": "nothing outside the project",
    "data.path=linked": "nothing outside the project",
    "data.path='C:\\photos'": "nothing outside the project",
    "data.path=a,/etc": "nothing outside the project",
    "model=../../secret": "nothing outside the project",
    "model=glob(../*)": "nothing outside the project",
    "resume=/srv/run": "nothing outside the project",
    "ckpt_path=../last.ckpt": "nothing outside the project",
    "weights.load=/etc/passwd": "nothing outside the project",
    "weights.map=../secret": "nothing outside the project",
    "callbacks.checkpoint.dirpath=/srv": "nothing outside the project",
    "+callbacks.x={_target_: a, dirpath: [/srv]}": "nothing outside the project",
    "seed=${oc.env:HOME}": "read neither the environment",
    "data.path=${oc.env:HOME}": "read neither the environment",
    "+data.x=" + "y" * 6000: "too long",
    "a=" + "[" * 3000: "cannot be read",
}


@pytest.mark.parametrize("override", REFUSED, ids=lambda text: text[:40])
def test_an_override_is_refused_before_anything_is_read(confined, override):
    (confined / "linked").symlink_to(confined.parent)
    with pytest.raises(ConfigError, match=REFUSED[override]):
        compose([override])


def test_too_many_overrides_are_refused(confined):
    with pytest.raises(ConfigError, match="too many overrides"):
        compose(["seed=1"] * 101)


def test_the_same_overrides_are_allowed_where_a_process_is_not_confined(confined, monkeypatch):
    monkeypatch.delenv(CONFINED)
    for override in ("limits.modules=100000", "data.path=/etc", "ckpt_path=../last.ckpt"):
        compose(["data=images", override])


FILES = {
    "data: {path: /etc}": "nothing outside the project",
    "data: {path: ../photos}": "nothing outside the project",
    "data: {path: '${oc.env:HOME}'}": "do not read the environment",
    "weights: {load: ../../weights.pt}": "nothing outside the project",
    "callbacks: {checkpoint: {dirpath: /srv}}": "nothing outside the project",
}


@pytest.mark.parametrize("text", FILES)
def test_a_file_of_the_project_is_trusted_no_more(confined, text):
    file = confined / "conf" / "experiment" / "brought.yaml"
    file.write_text(
        f"# @package _global_\ndefaults: [{{override /data: images}}]\n{text}\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match=FILES[text]) as caught:
        compose(["experiment=brought"])
    assert str(caught.value).startswith("conf/experiment/brought.yaml:")


def test_a_link_out_of_the_project_is_not_opened(confined):
    (confined / "conf" / "experiment" / "linked.yaml").symlink_to("../../../secret.yaml")
    with pytest.raises(ConfigError, match="this file cannot be read") as caught:
        compose(["experiment=linked"])
    assert SECRET not in str(caught.value)
    with pytest.raises(FileError, match="outside of the project"):
        open_file(confined / "conf" / "experiment" / "linked.yaml")


def test_links_below_a_folder_of_data_are_left_out(confined):
    data = confined / "texts"
    data.mkdir()
    (data / "own.txt").write_text("own", encoding="utf-8")
    (data / "file.txt").symlink_to(confined.parent / "secret.yaml")
    (data / "folder").symlink_to(confined.parent)
    walk = Walk(data)
    assert walk.files == [data / "own.txt"]
    assert len([text for text in walk.left_out if "outside of the project" in text]) == 2


# By the protocol ----------------------------------------------------------------------------------

ATTACKS = [
    *(("explain", {"overrides": [override]}) for override in list(REFUSED)[:14]),
    *(("check", {"overrides": [override]}) for override in ("hydra.x=1,2", "library=[a],[b]")),
    ("diff", {"old": ["model=vit"], "new": ["data.path=/etc"]}),
    ("diff", {"old": ["--config-dir"], "new": ["/etc"]}),
    ("fit", {"param": "model.params.dim", "macs": 1e6, "overrides": ["trust=x"]}),
    ("fit", {"param": "--config-dir", "macs": 1e6}),
    ("show", {"name": "../../secret"}),
    ("show", {"name": "/etc/passwd"}),
    ("show", {"name": "model/linked"}),
    ("list", {"kind": "../.."}),
    ("list", {"kind": "--json"}),
    ("why", {"path": "--config-dir=/etc"}),
    ("catalog", {"names": ["--library=/etc"]}),
    ("result", {"run": "/etc"}),
    ("result", {"run": "a/../.."}),
    ("result", {"run": "linked"}),
    ("explain", {"overrides": ["x" * 5_000_000]}),
    ("explain", {"overrides": ["seed=1"] * 100_000}),
    ("explain", {"overrides": ["model.params.dim='9**9**9**9'"]}),
    ("explain", {"overrides": ["model.params.depth=1000000000"]}),
    ("explain", {"overrides": [f"model.graph.head.features='{'(' * 2000}1{')' * 2000}'"]}),
    ("check", {"overrides": ["seed=range(1,1000000000)"]}),
    ("train", {"overrides": ["data.path=/etc"], "seconds": -1}),
    ("train", {"seconds": 1e9}),
]


def list_tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_no_attack_by_the_protocol_acts(agent, project):
    outside = project.parent
    (outside / "secret.yaml").write_text(f"# {SECRET}\n", encoding="utf-8")
    (outside / "run.json").write_text(f'{{"status": "{SECRET}"}}', encoding="utf-8")
    links = {
        project / "linked": outside,
        project / "conf" / "model" / "linked.yaml": outside / "secret.yaml",
    }
    for link, target in links.items():
        link.symlink_to(target)
    before = list_tree(outside)
    for tool, arguments in ATTACKS:
        answer = agent.call(tool, **arguments)
        assert answer["errors"], (tool, str(arguments)[:200])
        assert SECRET not in str(answer)
        assert all(error["code"] != "crash" for error in answer["errors"]), answer
    assert list_tree(outside) == before
    for link in links:
        link.unlink()
    assert {tool for tool, _ in ATTACKS} == set(TOOLS)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="links need rights on Windows")
def test_the_server_answers_after_the_attacks(agent):
    assert agent.call("explain", depth=1)["parameters"] == 202_186


def test_the_documents_count_the_attacks():
    page = (Path(__file__).parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")
    assert f"{len(ATTACKS)} attacks" in page
    assert f"{len(REFUSED) + len(FILES)} in overrides and files" in page
