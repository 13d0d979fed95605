"""The sweeper of Hydra that compares arms, each with settings chosen on the validation."""

import sys
from typing import Any

from hydra_plugins.dougong import TableSweeper


class StudySweeper(TableSweeper):
    """Chooses settings for each arm on the validation, then runs the sweep with them.

    The section `study` of the configuration says which settings, from which values and by which
    metric. The runs that choose are a sweep of their own, in the folder `tried` of the sweep.
    """

    def sweep(self, arguments: list[str]) -> Any:
        from tasks.sweep import plan
        from tasks.sweep.study import TRIED, key_of

        combinations = self._combinations(arguments)
        study = self._read_study(combinations[0])
        arms = study.list_arms(combinations)
        trials = [study.list_trials(arm) for arm in arms]
        seeds = [text for words in combinations for text in words if key_of(text) == "seed"]
        folder = self.folder
        if not (folder / plan.PLAN).is_file():  # by which a sweep that was stopped is found again
            plan.write_plan(folder, [], self.command)
        self._move(folder / TRIED)
        runs = [[*t, f"seed={n}"] for each in trials for t in each for n in study.seeds]
        status = self._run(runs, fresh=True)
        rows = plan.read_rows(self.folder)
        if status or any(row["status"] not in ("finished", "failed") for row in rows):
            self._finish(status)
        self._move(folder)
        chosen = [study.pick(each, rows) or each[0] for each in trials]
        runs = [[*words, seed] for words in chosen for seed in dict.fromkeys(seeds or ["seed=0"])]
        self._finish(self._run(runs, fresh=True))

    def _move(self, folder: Any) -> None:
        """Go on in another folder."""
        self.folder = folder
        self.launcher.folder = folder.absolute()  # type: ignore[union-attr]

    def _read_study(self, words: list[str]) -> Any:
        """Return the study that a run's configuration describes, or exit with what is wrong."""
        from blocks.graph import ConfigError, compose
        from tasks.run import run_folder
        from tasks.sweep.study import check_study, read_study

        try:
            composed = compose(
                [text for text in words if not text.startswith("hydra")],
                config_name=self.config_name,
            )
            problems = list(check_study(composed))
            if problems:
                raise ConfigError(problems)
            study = read_study(composed.config)
        except ConfigError as error:
            message: object = error
        else:
            if study is not None:
                return study
            message = (
                "hydra/sweeper=study needs a section study\n"
                "  fix       'study={choose: {optimizer.lr: [0.001, 0.01]}, by: val/loss}'"
            )
        print(message, file=sys.stderr)
        if self.earlier is None:
            run_folder.remove_folder(self.folder)
        sys.exit(2)
