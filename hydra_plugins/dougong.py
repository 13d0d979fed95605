"""The sweeper of Hydra that continues when a run fails.

Hydra looks for plugins in the package `hydra_plugins` only.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict

RESUME = "resume=true"  # continues the newest sweep of the same command


def typed_overrides(words: Any) -> list[str]:
    """Return overrides as they were typed; iterating over Hydra's list would resolve
    `${oc.env:NAME}` in them.
    """
    given = OmegaConf.to_container(words, resolve=False)
    assert isinstance(given, list)
    return [str(word) for word in given]


class TableSweeper(BasicSweeper):
    """Runs every combination that can be composed, and ends with a table of all of them.

    A combination that cannot be composed, a run that fails, and a run that exits are rows of the
    table. The exit status is 0 if every run finished, 1 otherwise, 130 after Ctrl-C.
    """

    def __init__(self, max_batch_size: int | None = None, params: Any = None):
        super().__init__(max_batch_size=max_batch_size, params=params)

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        from blocks.graph import ConfigError
        from tasks.run import run_folder

        self.picture: Any = None
        self.config_name = config.hydra.job.config_name
        overrides = typed_overrides(config.hydra.overrides.task)
        self.command = [text for text in overrides if text != RESUME]
        wanted = Path(str(config.hydra.sweep.dir))
        self.earlier = None
        if RESUME in overrides:
            self.earlier = self._find_earlier(wanted, Path(str(config.get("runs", "runs"))))
        try:
            self.folder = self.earlier or run_folder.claim_folder(wanted)
        except ConfigError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
        with open_dict(config):
            config.hydra.sweep.dir = str(self.folder)
            # each job is composed again
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{self.folder}'")
        try:
            super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        except InstantiationException as error:  # the launcher refuses its arguments
            if self.earlier is None:
                run_folder.remove_folder(self.folder)
            if not isinstance(error.__cause__, ValueError):
                raise
            print(f"the command line  hydra.launcher\n  {error.__cause__}", file=sys.stderr)
            sys.exit(2)

    def _find_earlier(self, wanted: Path, runs: Path) -> Path | None:
        """Return the folder of the sweep to resume: the one that is named, or the newest."""
        from tasks.sweep import plan

        if (wanted / plan.PLAN).is_file():
            return wanted
        return plan.find_latest(runs, self.command)

    def sweep(self, arguments: list[str]) -> Any:
        self._finish(self._run(self._combinations(arguments), fresh=self.earlier is None))

    def _run(self, combinations: list[list[str]], *, fresh: bool) -> int:
        """Run the combinations that are not finished in the folder of the sweep.

        Args:
            combinations: the overrides of each run.
            fresh: write the plan; otherwise the one in the folder must have the same runs.

        Returns:
            The exit status: 0, or 130 after Ctrl-C.
        """
        from blocks.graph import ConfigError
        from tasks.run import run_folder
        from tasks.sweep import plan

        try:
            jobs, configs = self._compose_jobs(combinations)
            # Hydra imports a plugin twice, so the launcher is no instance of the class named here
            check_jobs = getattr(self.launcher, "check_jobs", None)
            if check_jobs is not None:
                check_jobs([jobs[number]["overrides"] for number in configs])
            if fresh:
                plan.write_plan(self.folder, jobs, self.command)
            numbers = plan.find_missing(self.folder, jobs, configs)
        except ConfigError as error:
            print(error, file=sys.stderr)
            if self.earlier is None:
                run_folder.remove_folder(self.folder)
            sys.exit(2)
        counts = f"{len(jobs)} runs"
        if self.earlier:
            counts += f", {len(jobs) - len(numbers)} done"
        print(f"{counts}, sweep folder {run_folder.shorten_path(self.folder)}", flush=True)
        overrides = {int(job["folder"]): job["overrides"] for job in jobs if "folder" in job}
        try:
            self._launch(overrides, numbers)
        except KeyboardInterrupt:
            return 130
        return 0

    def _launch(self, overrides: dict[int, list[str]], numbers: list[int]) -> None:
        """Run the jobs of these numbers; their folders of an earlier attempt are removed."""
        from tasks.sweep import plan

        for number in numbers:
            shutil.rmtree(self.folder / str(number), ignore_errors=True)
        assert self.launcher is not None
        for group in plan.group_consecutive(numbers):
            first = group[0]
            jobs = [overrides[number] for number in group]
            for batch in self.split_overrides_to_chunks(jobs, self.max_batch_size):
                self.launcher.launch(batch, initial_job_idx=first)
                first += len(batch)

    def _combinations(self, arguments: list[str]) -> list[list[str]]:
        """Return the overrides of each run."""
        from blocks.graph.compose.combinations import check_count

        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = [text for text in arguments if text != RESUME]
        overrides = parser.parse_overrides([*self._parse_config(), *given])
        check_count(overrides)
        combinations: list[list[str]] = []
        for batch in self.split_arguments(overrides, None):
            combinations += batch
        return combinations

    def _compose_jobs(
        self, combinations: list[list[str]]
    ) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
        """Compose each combination.

        Returns:
            The plan, each combination with its folder or its error; and the configuration of each
            job that can be composed, by number.
        """
        from blocks.graph import ConfigError, compose
        from tasks.run.sections import check_sections
        from tasks.sweep import figure

        jobs: list[dict[str, Any]] = []
        configs = {}
        for number, overrides in enumerate(combinations):
            try:
                words = [text for text in overrides if not text.startswith("hydra")]
                composed = compose(words, config_name=self.config_name)
                check_sections(composed)
            except ConfigError as error:
                jobs.append({"overrides": overrides, "error": str(error)})
                continue
            configs[number] = composed.config
            self.picture = self.picture or figure.read_picture(composed)
            jobs.append({"overrides": overrides, "folder": str(number)})
        return jobs, configs

    def _finish(self, status: int) -> None:
        """Write the tables, the picture and the page of the sweep, and exit."""
        from tasks.run.run_folder import shorten_path
        from tasks.sweep import figure, plan, table
        from tasks.sweep.page import write_page

        rows = plan.read_rows(self.folder)
        table.write_csv(self.folder, rows)
        csv_file = self.folder / "sweep.csv"
        print(f"\n{table.format_table(rows)}\n\nsweep {shorten_path(csv_file)}", flush=True)
        svg = ""
        if self.picture is not None:
            svg = figure.draw_picture(self.picture, rows, self.folder)
        if svg:
            path = self.folder / figure.NAME
            path.write_text(svg, encoding="utf-8")
            print(f"picture {shorten_path(path)}", flush=True)
        page = write_page(self.folder, rows, picture=svg, **self._page_options())
        print(f"page {shorten_path(page)}", flush=True)
        unfinished = [row for row in rows if row["status"] != "finished"]
        if any(row["folder"] for row in unfinished):
            print("the same command with resume=true runs what is not finished", flush=True)
        sys.exit(status or int(bool(unfinished)))

    def _page_options(self) -> dict[str, Any]:
        """Return what the page shows besides the runs."""
        return {}
