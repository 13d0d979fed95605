"""From a keystroke on the page of `studio` to the painted graph, in a headless browser.

    python -m bench.studio [MODEL ...]
    python -m bench.studio --soak MINUTES      edits, trainings and a kill instead: bench/soak.py

Prints the median and the 95th percentile over 200 edits of each model, and the load of the machine.
Needs the extra `studio`, the package playwright and a Chromium.
"""

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from playwright.sync_api import sync_playwright

from bench.soak import soak
from blocks.support.program import DOOR

EDITS = 200
BROWSER = "/usr/bin/chromium"
MODELS = {  # what is chosen, and the param whose value is typed over
    "vit_b16": ("model=vit_b16 data=imagenet", "dim", (768, 384)),
    "swin_t": ("model=swin_t", "dim", (96, 192)),
    "gpt2_48_layers": ("model=gpt2 model.params.depth=48", "dim", (768, 384)),
}
EDITOR = """const editor =
  getElement(Number(document.querySelector(".studio-editor").id.slice(1))).editor;"""
TYPE = f"""([name, value]) => {{
  {EDITOR}
  const text = editor.state.doc.toString();
  const found = new RegExp(`\\\\b${{name}}: *(\\\\d+)`).exec(text);
  const to = found.index + found[0].length;
  const from = to - found[1].length;
  const before = window.studioPainted || 0;
  const start = performance.now();
  editor.dispatch({{changes: {{from, to, insert: value}}, userEvent: "input.type"}});
  return new Promise((resolve, reject) => {{
    setTimeout(() => reject("no graph within 20 s"), 20000);
    const look = () => (window.studioPainted || 0) > before
      ? resolve(window.studioPaintedAt - start) : setTimeout(look, 1);
    look();
  }});
}}"""


def main() -> None:
    """Measure each model, and print a line for it."""
    if sys.argv[1:2] == ["--soak"]:
        soak(float(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        for name in sys.argv[1:] or MODELS:
            words, param, values = MODELS[name]
            first, times = measure(browser, folder, words.split(), param, values)
            times.sort()
            middle, late = times[len(times) // 2], times[int(0.95 * len(times))]
            load = os.getloadavg()[0]
            print(
                f"{name:<16} open {first:5.1f} s   median {middle:4.0f} ms   "
                f"95 % {late:4.0f} ms   load {load:.1f} on {os.cpu_count()} cores",
                flush=True,
            )


def measure(
    browser: Any, folder: str, words: list[str], param: str, values: tuple[int, int]
) -> tuple[float, list[float]]:
    """Return the seconds from the command to the first graph, and the milliseconds of each edit."""
    start = time.perf_counter()
    command = [sys.executable, str(DOOR), "studio", *words, "--no-browser"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout is not None
    page = browser.new_page()
    try:
        page.goto(process.stdout.readline().strip())
        page.wait_for_selector(".studio-graph svg", timeout=120_000)
        first = time.perf_counter() - start
        page.wait_for_timeout(3000)
        times = []
        for edit in range(EDITS):
            value = str(values[(edit + 1) % 2])
            times.append(float(page.evaluate(TYPE, [param, value])))
            page.wait_for_timeout(150)  # the numbers follow
    finally:
        page.close()
        process.terminate()
        process.wait(30)
    return first, times


if __name__ == "__main__":
    main()
