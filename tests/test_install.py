"""What is installed works: the sdist and the wheel, an empty environment, an empty folder.

Imports nothing of the project, so that the workflow runs it where only a wheel is installed. No
network: the empty environment takes the dependencies of the one that tests.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("blocks", "dougong", "hydra_plugins", "tasks")
WHOLE = {".whl": 2_000_000, ".gz": 4_000_000}  # bytes of a package
LARGEST = {".whl": 100_000, ".gz": 1_000_000}  # bytes of a file in it: a wheel has source alone


def run(words, cwd, *, status=0, **variables):
    """Run a command; return its standard output."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**kept, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == status, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def build_both(source, folder):
    """Build the sdist and the wheel of a source tree; return their paths."""
    run([sys.executable, "-m", "hatchling", "build", "-d", folder], source)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build_both(ROOT, tmp_path_factory.mktemp("dist"))


# What the packages hold ---------------------------------------------------------------------------


def list_wheel(wheel):
    with zipfile.ZipFile(wheel) as opened:
        return {entry.filename: entry.file_size for entry in opened.infolist()}


def list_sdist(sdist):
    with tarfile.open(sdist) as opened:
        files = [entry for entry in opened.getmembers() if entry.isfile()]
    return {entry.name.partition("/")[2]: entry.size for entry in files}


def list_tracked(*folders):
    """The files of the project that git knows, as far as they are there."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    names = run(["git", "ls-files", "-z", *folders], ROOT).split("\0")
    return {name for name in names if name and (ROOT / name).is_file()}


def test_the_packages_are_small(built):
    for package, files in zip(built, (list_sdist(built[0]), list_wheel(built[1])), strict=True):
        assert package.stat().st_size < WHOLE[package.suffix]
        assert max(files.values()) < LARGEST[package.suffix]


def test_the_sdist_holds_the_source_and_nothing_that_was_made(built):
    found = list_sdist(built[0]).keys()
    assert list_tracked() - found == set()
    rest = ("runs/", "outputs/", "dist/", "build/", ".venv", ".git/", ".peers/")
    assert [name for name in found if name.startswith(rest) or "__pycache__" in name] == []


def test_the_wheel_holds_the_packages_the_configuration_and_the_template(built):
    found = {name for name in list_wheel(built[1]) if ".dist-info/" not in name}
    wanted = list_tracked(*PACKAGES)
    wanted |= {f"blocks/{name}" for name in list_tracked("conf")}
    assert wanted - found == set()
    assert {name.partition("/")[0] for name in found} == set(PACKAGES)
    assert [name for name in found if "__pycache__" in name or name.endswith(".pyc")] == []
    assert "dougong/template/dot_gitignore" in found


@pytest.mark.slow
def test_the_sdist_gives_the_same_wheel(built, tmp_path):
    sdist, wheel = built
    with tarfile.open(sdist) as opened:
        opened.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    _, again = build_both(source, tmp_path / "dist")
    assert list_wheel(again) == list_wheel(wheel)


# Another program that uses Hydra ------------------------------------------------------------------

APPLICATION = f"""
import sys
sys.path.append({str(ROOT)!r})  # as `site-packages` would be
import hydra
from hydra.core.plugins import Plugins

@hydra.main(version_base="1.3", config_path=None)
def job(config):
    seconds = Plugins.instance().get_stats().modules_import_time
    ours = [name for name in seconds if name.startswith("hydra_plugins.dougong")]
    print(len(ours), sum(seconds[name] for name in ours), *sys.modules)
job()
"""
SLOW = {"blocks", "concurrent", "ctypes", "dougong", "multiprocessing", "tasks", "torch"}


def test_hydra_in_another_program_starts_as_fast_and_may_have_tasks_of_its_own(tmp_path):
    for name in ("app", "blocks", "tasks"):
        text = APPLICATION if name == "app" else "raise SystemExit('not ours to import')\n"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    words = [sys.executable, "-W", "error", "app.py", "hydra.output_subdir=null"]
    seconds = []
    for _ in range(3):
        count, took, *modules = run(words, tmp_path).split()
        assert int(count) > 4
        assert not {name.partition(".")[0] for name in modules} & SLOW
        seconds.append(float(took))
    assert min(seconds) < 0.02


# An empty environment -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory):
    """An environment with the wheel, and the dependencies of the one that tests; its programs."""
    folder = tmp_path_factory.mktemp("empty") / "environment"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    here = Path(run([python, "-c", code], folder).strip())
    # `.pth` files that lie there are not read: the checkout is not found by them
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (here / "dependencies.pth").write_text("\n".join(others), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    run([*pip, "install", "-q", "--no-index", "--no-deps", "--ignore-installed", built[1]], folder)
    assert run([*pip, "check"], folder) == "No broken requirements found.\n"
    for package in PACKAGES:
        code = f"import {package}; print(*{package}.__path__)"  # one folder of that name
        assert Path(run([python, "-c", code], folder).strip()) == here / package
    return python.parent


def in_environment(words, environment, cwd, **options):
    """Run a command as a user would who has activated the environment."""
    words = [str(environment / words[0]), *words[1:]]
    path = os.pathsep.join([str(environment), os.environ["PATH"]])
    return run(words, cwd, PATH=path, **options)


def read_transcript(document):
    """The commands of the second section of the README, each with what is shown below it."""
    text = (ROOT / document).read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)[1]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    found = []
    for (kind, code), (_, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "sh" and "dougong " in code:
            *before, last = (line.partition(" # ")[0].strip() for line in code.splitlines())
            found += [(line, None) for line in before]
            found.append((last, shown))
    return found


NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")
DATE = re.compile(r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d")


def must_be_alike(shown, printed):
    """Compare lines as they are shown and as they are printed: but for dates, seconds and the
    digits by which processors differ. A line `...` stands for any number of lines.
    """
    wanted, found = shown.splitlines(), printed.splitlines()
    for number, line in enumerate(wanted):
        if line == "...":
            left = len(wanted) - number - 1
            del found[number : len(found) - left]
            found.insert(number, "...")
    assert len(wanted) == len(found), printed
    for line, other in zip(wanted, found, strict=True):
        texts = [DATE.sub("DATE", text) for text in (line, other)]
        if line.startswith("epoch") or " finished " in line:  # speed, waiting and time come last
            speed = r"( +[\d,]+ \w+/s( +waiting \d+%)?)?"
            texts = [re.sub(rf"{speed} *\d+( s)?$", "", text) for text in texts]
        assert NUMBER.sub("N", texts[0]).split() == NUMBER.sub("N", texts[1]).split(), printed
        for one, two in zip(*(NUMBER.findall(text) for text in texts), strict=True):
            tolerance = 0.1 if "." in one else 0
            assert float(one) == pytest.approx(float(two), abs=tolerance, rel=0), (line, other)


@pytest.mark.slow
def test_the_transcript_of_the_readme_is_what_happens(environment, tmp_path):
    folder, run_folder = tmp_path, ""
    lines = read_transcript("README.md")
    assert {line.split()[1] for line, _ in lines} >= {"init", "demo", "train", "predict", "explain"}
    for line, shown in lines:
        words = shlex.split(DATE.sub(run_folder, line))
        if words[0] == "cd":
            folder = folder / words[1]
            continue
        printed = in_environment(words, environment, folder)
        if shown is not None:
            must_be_alike(shown, printed)
        run_folder = run_folder or (DATE.findall(printed) or [""])[0]
    assert shown_files() <= {path.name for path in (folder / "runs" / run_folder).iterdir()}


def shown_files():
    """The files that the README lists in a run folder."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^runs/\S+\n((?:  .*\n)+)```$", text, re.MULTILINE)
    return {line.split()[0].rstrip("/") for line in listed.splitlines()}


# A project ----------------------------------------------------------------------------------------

SHORT = ["trainer.max_epochs=1", "callbacks.progress.style=none"]


@pytest.fixture(scope="module")
def project(environment, tmp_path_factory):
    """A project in a folder with blanks in its name, and a run of one epoch."""
    above = tmp_path_factory.mktemp("my folder with blanks")
    in_environment(["dougong", "init", "my project"], environment, above)
    folder = above / "my project"
    words = ["dougong", "train", "model.params.depth=1", *SHORT, "hydra.run.dir=runs/first"]
    in_environment(words, environment, folder)
    return folder


USES = {
    "resume": "dougong train resume=runs/first trainer.max_epochs=2",
    "predict": "dougong predict runs/first digits/",
    "evaluate": "dougong evaluate runs/first",
    "export": "dougong export runs/first --to safetensors",
    "hub": "dougong export runs/first --to hub",
    "block": "dougong train experiment=my_experiment library=[my_blocks] "
    "'+model.graph.mixing={block: TokenMixing, after: position}' trainer.max_epochs=1",
    "its test": "python -m pytest -q -p no:cacheprovider",
    "module": "python -m dougong explain model=my_model --why stem.features",
    "blocks": "python -m blocks check model=my_model,vit",
    "tasks": "python -m tasks evaluate runs/first",
    "two processes": "dougong train trainer=ddp trainer.accelerator=cpu trainer.devices=2 "
    "model.params.depth=1 trainer.max_epochs=1",
    "two jobs": "dougong train -m seed=1,2 hydra.launcher.n_jobs=2 model.params.depth=1 "
    "trainer.max_epochs=1",
}


@pytest.mark.slow
@pytest.mark.parametrize("use", USES)
def test_a_project_is_used_with_what_is_installed(use, environment, project):
    printed = in_environment(shlex.split(USES[use]), environment, project)
    assert "Traceback" not in printed


@pytest.mark.slow
def test_ctrl_c_saves_and_exits_with_130(environment, project):
    words = ["train", "trainer.max_epochs=1000", "hydra.run.dir=runs/stopped"]
    with subprocess.Popen(
        [str(environment / "dougong"), *words],
        cwd=project,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 1/"):
                process.send_signal(signal.SIGINT)
                break
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "stopped by Ctrl-C" in rest
    assert (project / "runs" / "stopped" / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="where nobody may write, root neither")
@pytest.mark.parametrize("line", ["init x", "train", "show model/vit --save"])
def test_a_folder_that_cannot_be_written_is_named(line, environment):
    done = subprocess.run(
        [str(environment / "dougong"), *line.split()],
        cwd="/proc",
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
