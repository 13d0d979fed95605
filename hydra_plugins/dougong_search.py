"""Hydra's way to a search: a sweep whose next settings depend on how the last ones did."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from hydra_plugins.dougong import RESUME, TableSweeper


class SearchSweeper(TableSweeper):
    """Asks Optuna for settings, runs them, tells it how they did; ends with the table of a sweep.

    A second process with the same command and `resume=true` works on the same study. One that was
    killed leaves its trials to the next.

    Args:
        trials: how many runs in all, those of other processes included; failed ones do not count.
        sampler: tpe, random, grid, cmaes, nsga2.
        pruner: none, median, hyperband.
        maximize: figures that should be high: [val/accuracy].
        minimize: figures that should be low: [parameters]. Several figures in all make a front of
            Pareto.
        params: what to search, as on the command line, in an experiment file.
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
            needed = f"hydra/sweeper=search needs the package {error.name}, which is not installed"
            print(
                f"{needed}\n  fix       pip install -c constraints.txt -e '.[search]'",
                file=sys.stderr,
            )
            sys.exit(2)
        except (ArgumentError, ConfigError) as error:
            told = (
                f"the command line  hydra.sweeper.{error.argument}\n"
                if isinstance(error, ArgumentError)
                else ""
            )
            print(told + "\n".join(f"  {line}" for line in str(error).split("; ")), file=sys.stderr)
            sys.exit(2)
        self._finish(status)

    def _search(self, arguments: list[str]) -> int:
        from tasks.run import run_folder
        from tasks.sweep import search

        assert self.config is not None
        assert self.launcher is not None
        fixed, space = self._space(arguments)
        study = search.open_study(
            self.place, self.goal, space, self.sampler, self.pruner, int(self.config.seed)
        )
        again = search.reap(study)
        told = f", {search.done(study)} are done" if self.earlier else ""
        told += f", {again} were left behind and run again" if again else ""
        print(f"{self.trials} trials{told}, sweep folder {run_folder.near(self.place)}", flush=True)
        try:
            while (left := self.trials - search.done(study)) > 0:
                self._batch(study, fixed, space, min(left, getattr(self.launcher, "n_jobs", 1)))
        except KeyboardInterrupt:
            return 130
        finally:
            self._tell_best(study)
        return 0

    def _batch(self, study: Any, fixed: list[str], space: Any, count: int) -> None:
        """Ask, run and tell some trials at once."""
        from tasks.sweep import search

        asked = {}
        for _ in range(count):
            trial = study.ask(space)
            overrides = [*fixed, *(f"{key}={value}" for key, value in trial.params.items())]
            search.mine(trial, overrides)
            shutil.rmtree(self.place / str(trial.number), ignore_errors=True)
            asked[trial.number] = [*overrides, *self._pruning(trial.number)]
        assert self.launcher is not None
        for numbers in self._stretches(asked):
            self.launcher.launch([asked[number] for number in numbers], initial_job_idx=numbers[0])
        for number in asked:
            search.tell(study, number, self.place / str(number), self.goal)

    def _stretches(self, asked: Mapping[int, list[str]]) -> list[list[int]]:
        from tasks.sweep import results

        return results.stretches(
            sorted(asked)
        )  # other processes may have taken the numbers between

    def _pruning(self, number: int) -> list[str]:
        if self.pruner == "none":
            return []
        (name, way) = next(iter(self.goal.items()))
        words = {
            "_target_": "tasks.sweep.pruning.Prune",
            "folder": f"'{self.place.absolute()}'",
            "trial": number,
            "monitor": name,
            "pruner": self.pruner,
            "goal": way,
        }
        return [f"+callbacks.prune.{key}={value}" for key, value in words.items()]

    def _space(self, arguments: list[str]) -> tuple[list[str], dict[str, Any]]:
        """What is the same for every trial, and what is searched."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = [text for text in arguments if text != RESUME]
        fixed, space = [], {}
        for override in parser.parse_overrides([*self._parse_config(), *given]):
            if override.is_sweep_override():
                space[override.get_key_element()] = distribution(override)
            else:
                fixed.append(override.input_line)
        return [text for text in fixed if text is not None], space

    def _found(self) -> dict[str, Any]:
        return {"goal": self.goal, "importance": self.importance}

    def _tell_best(self, study: Any) -> None:
        from tasks.sweep import results, search

        results.write_plan(self.place, search.jobs(study), self.command)
        for trial in search.best(study):
            values = ", ".join(
                f"{name} {value:.4g}" for name, value in zip(self.goal, trial.values, strict=True)
            )
            chosen = " ".join(f"{key}={value}" for key, value in trial.params.items())
            print(f"best: trial {trial.number}, {values}: {chosen}", flush=True)
        self.importance = search.importance(study)
        share = ", ".join(f"{key} {value:.0%}" for key, value in self.importance.items())
        if share:
            print(f"explains {next(iter(self.goal))}: {share}", flush=True)


def distribution(override: Override) -> Any:
    """The values of one key: `a,b`, `range(1,9)`, `interval(1e-4,1e-2)`,
    `tag(log,interval(1e-4,1e-2))`.
    """
    from tasks.sweep import search

    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        return search.between(
            value.start, value.end, "log" in value.tags
        )  # int(interval(1, 9)): whole numbers
    if isinstance(value, RangeSweep):
        assert value.start is not None
        assert value.stop is not None
        return search.steps(value.start, value.stop, value.step)
    assert isinstance(value, ChoiceSweep)
    return search.choices(list(override.sweep_string_iterator()))
