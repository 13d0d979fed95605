"""The process that looks into runs: it opens checkpoints, and runs their networks on one input."""

from pathlib import Path
from typing import Any

from blocks.studio.run.runs import RUNS
from blocks.support.answers import error_entries, error_entry
from tasks.look import Looker

Answer = dict[str, Any]
MOST = 3  # runs whose networks are kept


class Looks:
    """Answers about the runs of a project.

    Args:
        project: its folder.
    """

    def __init__(self, project: Path):
        self.project = project
        self.lookers: dict[str, Looker] = {}

    def answer(self, question: dict[str, Any]) -> Answer:
        """Answer a question; a mistake of the user's is an answer with `errors`."""
        ask = getattr(self, f"ask_{question.pop('ask')}")
        try:
            found: Answer = ask(**question)
        except Exception as error:  # a block of the user's own may raise anything
            return {"errors": error_entries(error)}
        return {"errors": [], **found}

    def ask_look(self, run: str, what: dict[str, Any]) -> Answer:
        """Run the newest network of a run on one input."""
        looker = self._open(run)
        if looker is None:
            return self._refuse(run)
        look = looker.look(what)
        assert looker.inputs is not None
        return {"kind": looker.inputs.kind, "saved": looker.saved, **look.describe()}

    def ask_attention(self, run: str, layer: str) -> Answer:
        """Return the weights of a layer for the last input."""
        looker = self._open(run)
        if looker is None or looker.last is None:
            return self._refuse(run)
        return looker.last.describe_attention(layer)

    def _open(self, run: str) -> Looker | None:
        """Return the looker of a run of the project; None for anything else."""
        folder = (self.project / run).resolve()
        inside = folder.is_relative_to((self.project / RUNS).resolve())
        if "\0" in run or not inside or not (folder / "run.json").is_file():
            return None
        looker = self.lookers.pop(run, None) or Looker(folder)
        self.lookers[run] = looker  # the last one is the latest
        if len(self.lookers) > MOST:
            del self.lookers[next(iter(self.lookers))]
        return looker

    def _refuse(self, run: str) -> Answer:
        entry = error_entry("no run of this project", code="bad-value", where="the page", got=run)
        return {"errors": [entry]}
