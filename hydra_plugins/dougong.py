"""Hydra's way to a sweep that survives its runs.

Hydra looks for plugins under this name and nowhere else.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict

RESUME = "resume=true"  # goes on with the newest sweep of the same command


def unread(words: Any) -> list[str]:
    """Words of the command line as they were typed: to walk through Hydra's list puts the
    environment into them.
    """
    given = OmegaConf.to_container(words, resolve=False)
    assert isinstance(given, list)
    return [str(word) for word in given]


class TableSweeper(BasicSweeper):
    """Runs every combination that can be composed, and ends with a table of all of them.

    A combination that cannot be composed, a run that fails, and a run that leaves the program are
    rows of the table. The exit status is 0 if every run finished, 1 otherwise, 130 after Ctrl-C.
    """

    def __init__(self, max_batch_size: int | None = None, params: Any = None):
        super().__init__(max_batch_size=max_batch_size, params=params)

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        from blocks.graph import ConfigError
        from tasks.run import run_folder
        from tasks.sweep import results

        self.picture: Any = None
        self.config_name = config.hydra.job.config_name
        self.command = [text for text in unread(config.hydra.overrides.task) if text != RESUME]
        wanted = Path(str(config.hydra.sweep.dir))
        self.earlier = None
        if RESUME in config.hydra.overrides.task:
            runs = Path(str(config.get("runs", "runs")))
            self.earlier = (
                wanted if (wanted / results.PLAN).is_file() else results.latest(runs, self.command)
            )
        try:
            self.place = self.earlier or run_folder.claim(wanted)
        except ConfigError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
        with open_dict(config):
            config.hydra.sweep.dir = str(self.place)
            config.hydra.overrides.hydra.append(
                f"hydra.sweep.dir='{self.place}'"
            )  # each job composes anew
        try:
            super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        except InstantiationException as error:  # a launcher refuses what it is given
            if self.earlier is None:
                run_folder.remove(self.place)
            if not isinstance(error.__cause__, ValueError):
                raise
            print(f"the command line  hydra.launcher\n  {error.__cause__}", file=sys.stderr)
            sys.exit(2)

    def sweep(self, arguments: list[str]) -> Any:
        from blocks.graph import ConfigError
        from tasks.run import run_folder
        from tasks.sweep import results

        try:
            jobs, configs = self._composable(self._combinations(arguments))
            if self.earlier is None:
                results.write_plan(self.place, jobs, self.command)
            numbers = results.missing(self.place, jobs, configs)
        except ConfigError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
        done = f", {len(jobs) - len(numbers)} are done" if self.earlier else ""
        print(f"{len(jobs)} runs{done}, sweep folder {run_folder.near(self.place)}", flush=True)
        status = 0
        try:
            self._launch(
                {int(job["folder"]): job["overrides"] for job in jobs if "folder" in job}, numbers
            )
        except KeyboardInterrupt:
            status = 130
        self._finish(status)

    def _launch(self, jobs: dict[int, list[str]], numbers: list[int]) -> None:
        """Run the jobs of these numbers; what an earlier try left in their folders goes."""
        from tasks.sweep import results

        for number in numbers:
            shutil.rmtree(self.place / str(number), ignore_errors=True)
        assert self.launcher is not None
        for stretch in results.stretches(numbers):
            first = stretch[0]
            for batch in self.split_overrides_to_chunks(
                [jobs[number] for number in stretch], self.max_batch_size
            ):
                self.launcher.launch(batch, initial_job_idx=first)
                first += len(batch)

    def _combinations(self, arguments: list[str]) -> list[list[str]]:
        from blocks.graph.compose.combinations import check_count

        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = [text for text in arguments if text != RESUME]
        overrides = parser.parse_overrides([*self._parse_config(), *given])
        check_count(overrides)
        return [
            combination for batch in self.split_arguments(overrides, None) for combination in batch
        ]

    def _composable(
        self, combinations: list[list[str]]
    ) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
        """The plan: each combination with its folder, or why it cannot be composed; and what they
        are composed to.
        """
        from blocks.graph import ConfigError, compose
        from tasks.run.sections import check_sections
        from tasks.sweep import figure

        jobs: list[dict[str, Any]] = []
        configs = {}
        for number, overrides in enumerate(combinations):
            try:
                words = [text for text in overrides if not text.startswith("hydra")]
                found = compose(words, config_name=self.config_name)
                check_sections(found)
                configs[number], self.picture = found.config, self.picture or figure.read(found)
                jobs.append({"overrides": overrides, "folder": str(number)})
            except ConfigError as error:
                jobs.append({"overrides": overrides, "error": str(error)})
        return jobs, configs

    def _finish(self, status: int) -> None:
        from tasks.run import run_folder
        from tasks.sweep import figure, results
        from tasks.sweep.page import write

        rows = results.read(self.place)
        results.write_csv(self.place, rows)
        print(
            f"\n{results.table(rows)}\n\nsweep {run_folder.near(self.place / 'sweep.csv')}",
            flush=True,
        )
        drawn = figure.draw(self.picture, rows, self.place) if self.picture is not None else ""
        if drawn:
            shown = self.place / figure.NAME
            shown.write_text(drawn, encoding="utf-8")
            print(f"picture {run_folder.near(shown)}", flush=True)
        written = write(self.place, rows, picture=drawn, **self._found())
        print(f"page {run_folder.near(written)}", flush=True)
        sys.exit(status or int(any(row["status"] != "finished" for row in rows)))

    def _found(self) -> dict[str, Any]:
        """What the page shall know besides the runs."""
        return {}
