"""Hours of edits and trainings on the page of `studio`: memory of each process, and what is kept.

    python -m bench.page.studio --soak MINUTES

Types values, chooses slots, makes mistakes and mends them, opens each part of the page, trains for
an epoch every few minutes, and kills the server half way. Prints the memory of the server, of the
process that answers and of the page after each hundred edits, and fails where a text is lost. Needs
what `bench.page.studio` needs.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from blocks.support.program import DOOR

BROWSER = "/usr/bin/chromium"
WORDS = ["model=vit", "data=digits"]
DRAFT = "studio/model/vit_draft.yaml"
TRAIN_EVERY = 5 * 60.0  # seconds
SHOWN_EVERY = 100  # edits
TABS = ("node", "difference", "PyTorch", "runs", "edit")
EDITOR = """const editor =
  getElement(Number(document.querySelector(".studio-editor").id.slice(1))).editor;"""
READ = f"() => {{ {EDITOR} return editor.state.doc.toString(); }}"
TYPE = f"""([pattern, value]) => {{
  {EDITOR}
  const found = new RegExp(pattern).exec(editor.state.doc.toString());
  if (!found) return false;
  const from = found.index + found[0].length - found[1].length;
  const change = {{from, to: from + found[1].length, insert: value}};
  editor.dispatch({{changes: change, userEvent: "input.type"}});
  return true;
}}"""
HEAP = """async () => {
  return performance.memory ? performance.memory.usedJSHeapSize : 0;
}"""


class Server:
    """A server, and the page that it shows."""

    def __init__(self, folder: Path, browser: Any):
        command = [sys.executable, str(DOOR), "studio", *WORDS, "--no-browser"]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert self.process.stdout is not None
        self.page = browser.new_page()
        self.page.set_default_timeout(120_000)
        self.page.goto(self.process.stdout.readline().strip())
        self.page.wait_for_selector(".studio-graph svg")

    def kill(self) -> None:
        """Kill it, as a machine does that has no memory left."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.page.close()

    def memory(self) -> dict[str, float]:
        """Return the memory of each process in MB."""
        found = {"server": resident(self.process.pid)}
        for child in children(self.process.pid):
            words = command_of(child)
            if "--answers" in words:
                found[f"answers about {words[words.index('--answers') + 1]}"] = resident(child)
        session = self.page.context.new_cdp_session(self.page)
        session.send("HeapProfiler.collectGarbage")
        session.detach()
        found["page"] = self.page.evaluate(HEAP) / 1e6
        return found


def resident(process: int) -> float:
    """Return the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def children(process: int) -> list[int]:
    """Return the children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").iterdir():
        found += map(int, (task / "children").read_text(encoding="utf-8").split())
    return found


def command_of(process: int) -> list[str]:
    """Return the command line of a process."""
    return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")


def edits() -> Iterator[tuple[str, str]]:
    """Yield what is typed over, and the text, in rounds: values, a slot, a mistake and its mend."""
    while True:
        for dim in (96, 32, 64):
            yield r"dim: (\d+)", str(dim)
        for depth in (6, 3, 4):
            yield r"depth: (\d+)", str(depth)
        yield r"norm: (layernorm|rmsnorm)", "rmsnorm"
        yield r"block: (SelectToken)", "SelectTokn"
        yield r"block: (SelectTokn)", "SelectToken"
        yield r"norm: (layernorm|rmsnorm)", "layernorm"


def soak(minutes: float) -> None:
    """Run, and print a line for each hundred edits."""
    folder = Path(tempfile.mkdtemp())
    print(f"{'minute':>6}  {'edits':>6}  {'runs':>4}  memory in MB", flush=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--enable-precise-memory-info"]
        )
        server = Server(folder, browser)
        start = trained = time.monotonic()
        count, runs, is_killed = 0, 0, False
        parts = iter(TABS * 10**6)
        for pattern, value in edits():
            passed = (time.monotonic() - start) / 60
            if passed > minutes:
                break
            assert server.page.evaluate(TYPE, [pattern, value]), pattern
            count += 1
            server.page.wait_for_timeout(400)
            if count % 10 == 0:
                server.page.get_by_role("tab", name=next(parts), exact=True).click()
            if time.monotonic() - trained > TRAIN_EVERY:
                trained = time.monotonic()
                runs += train(server)
            if count % SHOWN_EVERY == 0:
                show(passed, count, runs, server.memory())
            if passed > minutes / 2 and not is_killed:
                is_killed = True
                server = kill_and_open(server, folder, browser)
        show((time.monotonic() - start) / 60, count, runs, server.memory())
        found = sorted(folder.glob("runs/*/*/run.json"))
        print(f"{count} edits, {len(found)} runs kept of {runs} started, nothing lost")
        server.process.terminate()
        server.process.wait(30)
        browser.close()
    shutil.rmtree(folder, ignore_errors=True)


def train(server: Server) -> int:
    """Start a training of an epoch from the page; 0 where the model has a mistake just now."""
    page = server.page
    page.get_by_role("tab", name="train", exact=True).click()
    page.get_by_label("epochs").fill("1")
    page.get_by_label("more overrides").fill("trainer.limit_train_batches=5")
    page.get_by_role("button", name="start", exact=True).click()
    page.wait_for_timeout(2000)
    return 1 if page.locator(".studio-status").inner_text() else 0


def kill_and_open(server: Server, folder: Path, browser: Any) -> Server:
    """Kill the server behind a text that was just typed, and open another; the text is there."""
    server.page.evaluate(TYPE, [r"depth: (\d+)", "5"])
    server.page.wait_for_timeout(3000)
    text = server.page.evaluate(READ)
    server.kill()
    kept = (folder / DRAFT).read_text(encoding="utf-8")
    assert kept == text, "the draft is not the text of the page"
    after = Server(folder, browser)
    assert after.page.evaluate(READ) == text, "the page has another text"
    print("the server was killed and started again: the text is there", flush=True)
    return after


def show(minute: float, count: int, runs: int, memory: dict[str, float]) -> None:
    """Print the memory of each process."""
    parts = "  ".join(f"{name} {value:.0f}" for name, value in memory.items())
    print(f"{minute:6.1f}  {count:6}  {runs:4}  {parts}", flush=True)
