"""From a keystroke on the page of `studio` to the painted graph, in a headless browser.

    python -m bench.page.studio [MODEL ...]
    python -m bench.page.studio --pan               frames a second while a large graph is panned
    python -m bench.page.studio --soak MINUTES      edits, trainings and a kill: bench/page/soak.py

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

from bench.page.soak import soak
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
BRANCHES, NODES = 40, 25  # of the graph that is panned; more than half of it is seen
PAN = """async () => {
  const stage = document.querySelector(".studio-graph");
  const view = stage.getBoundingClientRect();
  const isSeen = (node) => {
    const box = node.getBoundingClientRect();
    return box.bottom > view.top && box.top < view.bottom
      && box.right > view.left && box.left < view.right;
  };
  const visible = () => [...stage.querySelectorAll("[data-node]")].filter(isSeen).length;
  const counts = [visible()];
  const times = [];
  const start = performance.now();
  let last = start;
  await new Promise((done) => {
    const step = (now) => {
      times.push(now - last);
      last = now;
      const turn = (now - start) / 600;
      stage.scrollTop = (stage.scrollHeight - stage.clientHeight) * (0.5 - 0.5 * Math.cos(turn));
      stage.scrollLeft = (stage.scrollWidth - stage.clientWidth) * (0.5 - 0.5 * Math.cos(turn / 2));
      if (now - start < 5000) requestAnimationFrame(step); else done();
    };
    requestAnimationFrame(step);
  });
  counts.push(visible());
  times.sort((a, b) => a - b);
  return [Math.min(...counts), 1000 * times.length / (last - start),
    times[Math.floor(0.95 * times.length)]];
}"""
SET = f"""(text) => {{
  {EDITOR}
  editor.dispatch({{changes: {{from: 0, to: editor.state.doc.length, insert: text}}}});
}}"""


def main() -> None:
    """Measure each model, and print a line for it."""
    if sys.argv[1:2] == ["--soak"]:
        soak(float(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        if sys.argv[1:2] == ["--pan"]:
            pan(browser, folder)
            return
        for name in sys.argv[1:] or MODELS:
            words, param, values = MODELS[name]
            opening, times = measure(browser, folder, words.split(), param, values)
            times.sort()
            middle, late = times[len(times) // 2], times[int(0.95 * len(times))]
            load = os.getloadavg()[0]
            print(
                f"{name:<16} open {opening[0]:4.1f} s, {opening[1]:.1f} s of it in the browser   "
                f"median {middle:4.0f} ms   "
                f"95 % {late:4.0f} ms   load {load:.1f} on {os.cpu_count()} cores",
                flush=True,
            )


def write_large() -> str:
    """Return the text of a model with many branches, whose nodes are seen at once."""
    lines = ["inputs: {image: data.image}", "graph:", "  flat: {block: Flatten}"]
    ends = []
    for branch in range(BRANCHES):
        before = "flat"
        for node in range(NODES):
            name = f"n{branch}_{node}"
            lines.append(f"  {name}: {{block: Linear, features: 16, in: {before}}}")
            before = name
        ends.append(before)
    lines.append(f"  sum: {{block: Add, in: [{', '.join(ends)}]}}")
    lines.append("  head: {block: Linear, features: data.classes}")
    return "\n".join([*lines, "outputs: {logits: head}", ""])


def pan(browser: Any, folder: str) -> None:
    """Print how many nodes are seen, and the frames a second while they are panned."""
    process, page = open_page(browser, folder, ["model=mlp", "data=digits"])
    try:
        page.evaluate(SET, write_large())
        page.wait_for_selector(f"[data-node=n{BRANCHES - 1}_0]", state="attached", timeout=120_000)
        for _ in range(20):
            seen = page.evaluate("document.querySelectorAll('.studio-graph [data-node]').length")
            page.get_by_label("zoom out").click()
        page.wait_for_timeout(3000)
        visible, frames, late = page.evaluate(PAN)
        print(
            f"{seen} nodes, {visible} of them seen   {frames:.0f} frames a second   "
            f"95 % of the frames within {late:.0f} ms   load {os.getloadavg()[0]:.1f}"
        )
    finally:
        page.close()
        process.terminate()
        process.wait(30)


def open_page(browser: Any, folder: str, words: list[str]) -> tuple["subprocess.Popen[str]", Any]:
    """Start the server; return it, and the page with its first graph."""
    command = [sys.executable, str(DOOR), "studio", *words, "--no-browser"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout is not None
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.goto(process.stdout.readline().strip())
    page.wait_for_selector(".studio-graph svg", timeout=120_000)
    return process, page


def measure(
    browser: Any, folder: str, words: list[str], param: str, values: tuple[int, int]
) -> tuple[tuple[float, float], list[float]]:
    """Return the seconds from the command to the first graph, and those of them in the browser; and
    the milliseconds of each edit.
    """
    start = time.perf_counter()
    process, page = open_page(browser, folder, words)
    try:
        first = time.perf_counter() - start
        painted = page.wait_for_function("window.studioPaintedAt").json_value()
        opening = first, painted / 1000
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
    return opening, times


if __name__ == "__main__":
    main()
