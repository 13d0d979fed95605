"""Hydra's way to a sweep that survives its runs. Hydra looks for plugins under this name and nowhere else."""

import sys
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, open_dict


class TableSweeper(BasicSweeper):
    """Runs every combination that can be composed, and ends with a table of all of them.

    A combination that cannot be composed, a run that fails, and a run that leaves the program are rows of the table.
    The exit status is 0 if every run finished, 1 otherwise, 130 after Ctrl-C.
    """

    def __init__(self, max_batch_size: int | None = None, params: Any = None):
        super().__init__(max_batch_size=max_batch_size, params=params)

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        from tasks import folder

        self.place = folder.claim(Path(str(config.hydra.sweep.dir)))
        with open_dict(config):
            config.hydra.sweep.dir = str(self.place)
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{self.place}'")  # each job composes anew
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        from tasks import folder

        combinations = self._combinations(arguments)
        jobs = self._composable(combinations)
        good = [job["overrides"] for job in jobs if "error" not in job]
        done = 0
        print(f"{len(jobs)} runs, sweep folder {folder.near(self.place)}", flush=True)
        status = 0
        try:
            for batch in self.split_overrides_to_chunks(good, self.max_batch_size) if good else ():
                self.launcher.launch(batch, initial_job_idx=done)
                done += len(batch)
        except KeyboardInterrupt:
            status = 130
        self._finish(status)

    def _combinations(self, arguments: list[str]) -> list[list[str]]:
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        return [combination for batch in self.split_arguments(overrides, None) for combination in batch]

    def _composable(self, combinations: list[list[str]]) -> list[dict[str, Any]]:
        """The plan: each combination with its folder, or with the reason why it cannot be composed."""
        from blocks.graph import ConfigError, compose
        from tasks import sweep

        jobs: list[dict[str, Any]] = []
        for overrides in combinations:
            try:
                compose([text for text in overrides if not text.startswith("hydra")])
                folder = str(sum("error" not in job for job in jobs))
                jobs.append({"overrides": overrides, "folder": folder})
            except ConfigError as error:
                jobs.append({"overrides": overrides, "error": str(error)})
        sweep.write_plan(self.place, jobs)
        return jobs

    def _finish(self, status: int) -> None:
        from tasks import folder, sweep

        rows = sweep.read(self.place)
        sweep.write_csv(self.place, rows)
        print(f"\n{sweep.table(rows)}\n\nsweep {folder.near(self.place / 'sweep.csv')}", flush=True)
        sys.exit(status or int(any(row["status"] != "finished" for row in rows)))
