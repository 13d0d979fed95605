"""The wheel, installed into an empty environment, does in an empty folder what the README shows."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST = 1_000_000  # bytes of a file in the source distribution
WHOLE = 5_000_000  # bytes of the whole
NUMBER = re.compile(r"\d[\d,.]*")
BLANKS = re.compile(r"\s+")
pytestmark = pytest.mark.slow


def run(words, folder, path=None):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        shell=isinstance(words, str),
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the source distribution."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "-o", str(folder), str(ROOT)], folder)
    return folder


@pytest.fixture(scope="module")
def programs(built, tmp_path_factory):
    """The folder with the programs of an environment that has the wheel; what the wheel depends on
    is that of the surrounding environment, so that nothing is downloaded.
    """
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = programs / "python"
    (wheel,) = built.glob("*.whl")
    run([str(python), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)], folder)
    found = run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder
    )
    # behind the wheel's own packages; the file by which the checkout is installed is not read
    (Path(found.strip()) / "surroundings.pth").write_text(
        sysconfig.get_path("purelib") + "\n", encoding="utf-8"
    )
    return programs


def test_the_wheel_holds_the_packages_the_yaml_and_the_template(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"blocks", "dougong", "hydra_plugins", "tasks"}
    assert {
        "blocks/conf/train.yaml",
        "blocks/conf/model/vit.yaml",
        "blocks/py.typed",
        "dougong/template/dot_gitignore",
        "dougong/template/conf/model/my_model.yaml",
    } <= set(names)
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_source_distribution_holds_no_runs_and_no_large_files(built):
    (source,) = built.glob("*.tar.gz")
    assert source.stat().st_size < WHOLE
    with tarfile.open(source) as opened:
        members = opened.getmembers()
    assert [member.name for member in members if member.size > MOST] == []
    names = [member.name.partition("/")[2] for member in members]
    assert "train.py" in names
    assert [name for name in names if name.startswith(("runs/", ".venv/", "dist/"))] == []


def read_transcript():
    """The lines that the README's second section types, each with the lines that it shows."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    second = text.split("\n## ")[2]
    (shown,) = re.findall(r"```console\n(.*?)```", second, re.DOTALL)
    found = []
    for line in shown.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def without_numbers(line):
    return BLANKS.sub(" ", NUMBER.sub("#", line)).strip()


def test_the_transcript_of_the_readme(programs, tmp_path):
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = tmp_path
    for typed, shown in read_transcript():
        if typed.startswith("cd "):
            folder = folder / typed[3:]
            image = Image.fromarray((load_digits().images[0] * 15.9).astype("uint8"))
            image.save(folder / "digit.png")
            continue
        out = run(typed, folder, programs)
        printed = {without_numbers(line) for line in out.splitlines()}
        assert [line for line in shown if without_numbers(line) not in printed] == [], out
        scores = re.search(r"test accuracy ([\d.]+)", out)
        if typed == "dougong train hydra.run.dir=runs/first":
            assert float(scores[1]) > 0.96
        if "predict" in typed:
            assert "\ndigit.png,0,0.9" in out


def test_the_rest_of_a_day(programs, tmp_path):
    """Resume, export, blocks of one's own, their test, two processes, a folder with a blank."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    run("dougong init .", folder, programs)
    quick = "experiment=my_experiment trainer.max_epochs=1 hydra.run.dir=runs/one"
    run(f"dougong train {quick}", folder, programs)
    run("dougong train resume=runs/one trainer.max_epochs=2", folder, programs)
    run("dougong export runs/one --to safetensors", folder, programs)
    run("dougong evaluate runs/one", folder, programs)
    mixing = "'+model.graph.mixing={block: TokenMixing, after: position}'"
    own = f"experiment=my_experiment trainer=debug 'library=[my_blocks]' {mixing}"
    run(f"dougong train {own}", folder, programs)
    run("python -m pytest -q -p no:cacheprovider tests", folder, programs)
    run("dougong train -m trainer=debug seed=1,2 hydra.launcher.n_jobs=2", folder, programs)
    two = "trainer=ddp trainer.accelerator=cpu trainer.devices=2 trainer.max_epochs=1"
    run(f"dougong train {two}", folder, programs)
    for program in ("blocks", "tasks", "dougong"):
        run(f"python -m {program} --help", folder, programs)
