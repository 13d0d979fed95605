"""Facts of the user's own files, which `explain` and `check` read where that takes no time."""

import numpy as np
import pytest
from PIL import Image

from blocks.graph import compose
from tasks.data import quick
from tasks.run.data_facts import read_data, read_facts


def write_images(folder, masks):
    source = np.random.default_rng(0)
    for number in range(12):
        for kind in ("images", "masks") if masks else ("a", "b"):
            high = 3 if kind == "masks" else 256
            pixels = source.integers(0, high, (9, 11), np.uint8)
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")


@pytest.mark.parametrize("kind", ["images", "masks", "table"])
def test_small_files_are_read_and_large_ones_are_not(tmp_path, monkeypatch, kind):
    words = {
        "images": ["data=images", f"data.path={tmp_path}", "data.size=7"],
        "masks": ["data=masks", f"data.path={tmp_path}", "data.size=7", "task=segment"],
        "table": ["data=table", f"data.path={tmp_path / 't.csv'}", "task=regress"],
    }[kind]
    if kind == "table":
        rows = [f"{number},{'ab'[number % 2]},{number * 0.5}" for number in range(40)]
        (tmp_path / "t.csv").write_text("\n".join(["x,kind,y", *rows]), encoding="utf-8")
    else:
        write_images(tmp_path, kind == "masks")
    composed = compose(words)
    assert read_facts(composed) == read_data(composed).facts()
    monkeypatch.setattr(quick, "FEW", 20)
    monkeypatch.setattr(quick, "SMALL", 100)
    assert read_facts(composed) is None
