"""One server for the tests of a process, in a project with a file of its own."""

import pytest

MODEL = "defaults: [vit, _self_]\nparams: {dim: 96}\n"


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A folder with a model of the user's, and a file outside of it."""
    folder = tmp_path_factory.mktemp("agent") / "project"
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / "conf" / "model" / "own.yaml").write_text(f"# wider\n{MODEL}", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def agent(project):
    """An agent that works in the project."""
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from tests.agents.client import connected

    with connected(project, "--max-seconds", "100") as found:
        yield found
