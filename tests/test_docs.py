"""The generated pages say what the code says."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
assert spec is not None
assert spec.loader is not None
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


def test_the_catalogue_is_current():
    found = generate.markdown(
        generate.entries(generate.catalog(), generate.conf_folder() / "model")
    )
    assert (DOCS / "catalog.md").read_text(encoding="utf-8") == found


def test_the_way_from_rnn_to_swin_is_current():
    assert (DOCS / "from_rnn_to_swin.md").read_text(encoding="utf-8") == generate.way()


def test_the_codes_are_current():
    assert (DOCS / "answers.md").read_text(encoding="utf-8") == generate.answers()


@pytest.mark.slow
def test_every_generated_page_is_current():
    stale = [
        path.name
        for path, text in generate.pages().items()
        if path.read_text(encoding="utf-8") != text
    ]
    assert not stale, "run python docs/generate.py"
