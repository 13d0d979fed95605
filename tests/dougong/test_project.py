"""A project of one's own: what `dougong init` makes, and whose files are read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.graph import ConfigError, build, compose
from blocks.support import conf_folders
from dougong import main as dougong

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "demo"
    assert dougong.main(["init", str(folder)]) == 0
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A copy of a new project, in which the test stands."""
    folder = tmp_path / "demo"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


def test_a_new_project_has_a_model_an_experiment_a_block_its_test_and_settings(made):
    files = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    assert {
        ".gitignore",
        "README.md",
        "conf/model/my_model.yaml",
        "conf/experiment/my_experiment.yaml",
        "my_blocks/mixing.py",
        "tests/test_mixing.py",
        ".vscode/settings.json",
        ".vscode/schema/model.json",
    } <= files
    settings = json.loads((made / ".vscode" / "settings.json").read_text("utf-8"))
    for name in settings["yaml.schemas"]:
        assert (made / name).is_file()


def test_a_project_is_not_begun_over_files_that_are_there(project, capsys):
    (project / "README.md").write_text("mine", encoding="utf-8")
    assert dougong.main(["init", "."]) == 2
    assert "a project is begun where none of its files exists" in capsys.readouterr().err
    assert (project / "README.md").read_text("utf-8") == "mine"


def test_the_model_of_a_new_project_is_built_with_its_block(project):
    model = build(
        "my_model",
        overrides=["+graph.mixing={block: TokenMixing, after: position}"],
        facts={"image": [1, 8, 8], "classes": 10},
        library=["my_blocks"],
    )
    assert model.get_submodule("mixing").mix.in_features == 16


def test_a_file_of_the_project_comes_before_the_packaged_one(project, capsys):
    assert dougong.main(["show", "model/norm/rmsnorm", "--save"]) == 0
    file = project / "conf" / "model" / "norm" / "rmsnorm.yaml"
    file.write_text(file.read_text("utf-8") + "epsilon: 0.5\n", encoding="utf-8")
    composed = compose(["model=vit", "model/norm=rmsnorm"])
    assert composed.config["model"]["norm"]["epsilon"] == 0.5
    assert composed.origin("model.norm.epsilon").file == str(file)
    capsys.readouterr()
    why = ["explain", "model=vit", "model/norm=rmsnorm", "--why", "norm.epsilon"]
    assert dougong.main(why) == 0
    assert "conf/model/norm/rmsnorm.yaml:3:1" in capsys.readouterr().out


def test_a_file_that_is_saved_twice_is_kept(project, capsys):
    assert dougong.main(["show", "model/vit", "--save"]) == 0
    (project / "conf" / "model" / "vit.yaml").write_text("mine", encoding="utf-8")
    assert dougong.main(["show", "model/vit", "--save"]) == 2
    assert (project / "conf" / "model" / "vit.yaml").read_text("utf-8") == "mine"


def test_a_mistake_in_a_file_of_the_project_is_reported_with_its_line(project):
    file = project / "conf" / "model" / "my_model.yaml"
    file.write_text(file.read_text("utf-8").replace("MeanTokens", "MeenTokens"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        build("my_model", facts={"image": [1, 8, 8], "classes": 10})
    assert str(caught.value).startswith("conf/model/my_model.yaml:19:")


def test_choices_of_the_project_are_listed_and_proposed(project, capsys):
    assert dougong.main(["list", "model", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["choices"]}
    assert rows["my_model"]["origin"] == "this project"
    assert rows["vit"]["origin"] == "dougong"
    with pytest.raises(ConfigError, match="did you mean my_model"):
        compose(["model=my_modle"])
    assert dougong.main(["my_model"]) == 2
    assert "dougong explain model=my_model" in capsys.readouterr().err


def test_models_of_the_project_are_checked_by_their_files(project, capsys):
    assert dougong.main(["check", "conf/model/my_model.yaml"]) == 0
    assert "my_model" in capsys.readouterr().out


def test_a_project_cannot_change_how_the_program_runs(project):
    """The folder may be a stranger's: `train.yaml` and `hydra/` are those of the program."""
    conf = project / "conf"
    evil = "_target_: os.system\ncommand: touch evil\n"
    for name in ("train.yaml", "hydra/launcher/processes.yaml", "hydra/sweeper/table.yaml"):
        (conf / name).parent.mkdir(parents=True, exist_ok=True)
        (conf / name).write_text(evil, encoding="utf-8")
    composed = compose(["model=my_model"])
    assert composed.origin("seed").file == str(ROOT / "conf" / "train.yaml")
    done = subprocess.run(
        [sys.executable, str(ROOT / "dougong" / "__main__.py"), "train", "--cfg", "hydra"],
        cwd=project,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert "os.system" not in done.stdout
    assert "hydra_plugins.dougong" in done.stdout
    assert not (project / "evil").exists()


def test_a_project_cannot_let_its_blocks_run_by_a_file(project):
    text = "# @package _global_\nlibrary: [my_blocks]\n"
    (project / "conf" / "experiment" / "evil.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="blocks of your own are named on the command line"):
        compose(["model=my_model", "experiment=evil"])


def test_files_that_are_not_read_are_named(project):
    (project / "conf" / "train.yaml").write_text("seed: 1\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "model=nonsense"],
        cwd=project,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.stderr.startswith("conf/train.yaml of this folder is not read: ")


class Point:
    """An entry point of an installed package."""

    name, module = "lab", "lab.conf"


def test_a_package_ships_yaml(tmp_path, monkeypatch):
    folder = tmp_path / "lab" / "conf" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "lab" / "__init__.py").touch()
    shutil.copyfile(ROOT / "conf" / "model" / "mlp.yaml", folder / "lab_model.yaml")
    shutil.copyfile(ROOT / "conf" / "model" / "mlp.yaml", folder / "vit.yaml")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(conf_folders, "entry_points", lambda group: [Point])
    conf_folders.lab_folders.cache_clear()
    try:
        composed = compose(["model=lab_model"])
        assert composed.origin("model.graph").file == str(folder / "lab_model.yaml")
        ours = compose(["model=vit"]).origin("model.graph").file
        assert ours == str(ROOT / "conf" / "model" / "vit.yaml")
        assert dougong.main(["list", "model"]) == 0
    finally:
        monkeypatch.undo()
        conf_folders.lab_folders.cache_clear()


def test_another_program_that_uses_hydra_keeps_its_own_reader(tmp_path):
    """`build` works inside its job, and its files need not follow our rules."""
    (tmp_path / "settings.yaml").write_text("where: ${hydra:runtime.cwd}\n", encoding="utf-8")
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import hydra
@hydra.main(version_base="1.3", config_path={str(tmp_path)!r}, config_name="settings")
def job(config):
    from dougong import build
    before = str(config.where)
    model = build("mlp", facts={{"image": [1, 8, 8], "classes": 10}})
    print(before == str(config.where), sum(p.numel() for p in model.parameters()))
job()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("True ")


# Files of the user's own, with the names of our packages ------------------------------------------

MINE = "raise SystemExit('a file of the user is imported in place of a package of Dougong')\n"
USE = """
from dougong import build
model = build("mlp", facts={"image": [1, 8, 8], "classes": 10})
print(type(model).__name__)
"""
WAYS = {
    "script": ["mine.py"],
    "module": ["-m", "mine"],
    "notebook": ["-c", USE],
    "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
    "explain": ["-m", "dougong", "explain", "model=mlp", "data=digits", "--depth", "0"],
    "train": ["-m", "dougong", "train", "--cfg", "job"],
}


LONG = ("module", "notebook", "explain")  # variants of the others


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=[pytest.mark.slow] * (way in LONG)) for way in WAYS],
)
def test_files_named_as_our_packages_break_nothing(way, tmp_path):
    for name in ("tasks", "blocks", "train"):
        (tmp_path / f"{name}.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "mine.py").write_text(USE, encoding="utf-8")
    test = "def test_it():" + USE.replace("\n", "\n    ") + "\n"
    (tmp_path / "test_mine.py").write_text(test, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *WAYS[way]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_module_that_was_imported_before_is_named(tmp_path):
    (tmp_path / "blocks.py").write_text("mine = 1\n", encoding="utf-8")
    code = "import sys; sys.path.insert(0, ''); import blocks; assert blocks.mine; import dougong"
    code += "; dougong.build"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert "import dougong first, or rename the file" in done.stderr
