"""The sweeper of Hydra that searches: the next settings depend on the results of the last ones."""

import shutil
import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from hydra_plugins.dougong import RESUME, TableSweeper


class SearchSweeper(TableSweeper):
    """Runs settings that Optuna suggests, reports their results to it, and ends with the table of a
    sweep.

    A second process with the same command and `resume=true` works on the same study. The next
    process repeats the trials of one that was killed.

    Args:
        trials: runs in all, those of other processes included; failed ones do not count.
        sampler: tpe, random, grid, cmaes, nsga2.
        pruner: none, median, hyperband.
        maximize: figures that should be high: [val/accuracy].
        minimize: figures that should be low: [parameters]. Several figures in all make a Pareto
            front.
        params: the search space of an experiment file, written as on the command line.
    """

    def __init__(
        self,
        trials: int,
        sampler: str,
        pruner: str,
        maximize: Sequence[str] = (),
        minimize: Sequence[str] = (),
        params: Any = None,
        max_batch_size: int | None = None,
    ):
        super().__init__(max_batch_size=max_batch_size, params=params)
        self.trials, self.sampler, self.pruner = trials, sampler, pruner
        self.importance: dict[str, float] = {}
        self.goal = {**dict.fromkeys(maximize, "max"), **dict.fromkeys(minimize, "min")}

    def sweep(self, arguments: list[str]) -> Any:
        from blocks.graph import ConfigError
        from tasks.errors import ArgumentError

        try:
            status = self._search(arguments)
        except ModuleNotFoundError as error:
            text = f"hydra/sweeper=search needs the package {error.name}, which is not installed"
            fix = "pip install -c constraints.txt -e '.[search]'"
            print(f"{text}\n  fix       {fix}", file=sys.stderr)
            sys.exit(2)
        except (ArgumentError, ConfigError) as error:
            lines = [f"  {line}" for line in str(error).split("; ")]
            if isinstance(error, ArgumentError):
                lines.insert(0, f"the command line  hydra.sweeper.{error.argument}")
            print("\n".join(lines), file=sys.stderr)
            sys.exit(2)
        self._finish(status)

    def _search(self, arguments: list[str]) -> int:
        """Run trials until there are enough; return the exit status."""
        from tasks.run import run_folder
        from tasks.sweep import search

        assert self.config is not None
        fixed, space = self._parse_space(arguments)
        study = search.open_study(
            self.folder, self.goal, space, self.sampler, self.pruner, int(self.config.seed)
        )
        abandoned = search.fail_abandoned(study)
        counts = f"{self.trials} trials"
        if self.earlier:
            counts += f", {search.count_started(study)} done"
        if abandoned:
            counts += f", {abandoned} were abandoned and run again"
        print(f"{counts}, sweep folder {run_folder.shorten_path(self.folder)}", flush=True)
        at_once = getattr(self.launcher, "n_jobs", 1)
        try:
            while (left := self.trials - search.count_started(study)) > 0:
                self._run_trials(study, fixed, space, min(left, at_once))
        except KeyboardInterrupt:
            return 130
        finally:
            self._report_best(study)
        return 0

    def _run_trials(self, study: Any, fixed: list[str], space: Any, count: int) -> None:
        """Run some trials at once, and report their results to the study."""
        from tasks.sweep import plan, search

        trials = {}
        for _ in range(count):
            trial = study.ask(space)
            overrides = [*fixed, *(f"{key}={value}" for key, value in trial.params.items())]
            search.record_owner(trial, overrides)
            shutil.rmtree(self.folder / str(trial.number), ignore_errors=True)
            trials[trial.number] = [*overrides, *self._pruning_overrides(trial.number)]
        assert self.launcher is not None
        # other processes may have taken the numbers between
        for numbers in plan.group_consecutive(sorted(trials)):
            jobs = [trials[number] for number in numbers]
            self.launcher.launch(jobs, initial_job_idx=numbers[0])
        for number in trials:
            search.report_trial(study, number, self.folder / str(number), self.goal)

    def _pruning_overrides(self, number: int) -> list[str]:
        """Return the overrides that add the callback which prunes a trial."""
        if self.pruner == "none":
            return []
        monitor, direction = next(iter(self.goal.items()))
        options = {
            "_target_": "tasks.sweep.pruning.Prune",
            "folder": f"'{self.folder.absolute()}'",
            "trial": number,
            "monitor": monitor,
            "pruner": self.pruner,
            "goal": direction,
        }
        return [f"+callbacks.prune.{key}={value}" for key, value in options.items()]

    def _parse_space(self, arguments: list[str]) -> tuple[list[str], dict[str, Any]]:
        """Return the overrides of every trial, and the distribution of each key that is
        searched.
        """
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = [text for text in arguments if text != RESUME]
        fixed: list[str] = []
        space = {}
        for override in parser.parse_overrides([*self._parse_config(), *given]):
            if override.is_sweep_override():
                space[override.get_key_element()] = parse_distribution(override)
            elif override.input_line is not None:
                fixed.append(override.input_line)
        return fixed, space

    def _page_options(self) -> dict[str, Any]:
        return {"goal": self.goal, "importance": self.importance}

    def _report_best(self, study: Any) -> None:
        """Write the plan of all trials, and print the best ones."""
        from tasks.sweep import plan, search

        plan.write_plan(self.folder, search.list_jobs(study), self.command)
        for trial in search.find_best(study):
            pairs = zip(self.goal, trial.values, strict=True)
            values = ", ".join(f"{name} {value:.4g}" for name, value in pairs)
            settings = " ".join(f"{key}={value}" for key, value in trial.params.items())
            print(f"best: trial {trial.number}, {values}: {settings}", flush=True)
        self.importance = search.measure_importance(study)
        if self.importance:
            shares = ", ".join(f"{key} {value:.0%}" for key, value in self.importance.items())
            print(f"explains {next(iter(self.goal))}: {shares}", flush=True)


def parse_distribution(override: Override) -> Any:
    """Return the distribution of one key: `a,b`, `range(1,9)`, `interval(1e-4,1e-2)`,
    `tag(log,interval(1e-4,1e-2))`; `int(interval(1,9))` has whole numbers.
    """
    from tasks.sweep import search

    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        return search.interval(value.start, value.end, "log" in value.tags)
    if isinstance(value, RangeSweep):
        assert value.start is not None
        assert value.stop is not None
        return search.stepped_range(value.start, value.stop, value.step)
    assert isinstance(value, ChoiceSweep)
    return search.categories(list(override.sweep_string_iterator()))
