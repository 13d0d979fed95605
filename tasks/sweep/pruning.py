"""A callback that reports the validation to a search, which may stop the run."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl


class Prune(pl.Callback):
    """Reports a figure of the validation after each epoch, and stops a training that is behind
    others.

    The best weights until then are kept and tested. The sweep `hydra/sweeper=search` adds this
    callback.

    Args:
        folder: the folder of the sweep, with its study.
        trial: the number of the trial.
        monitor: the figure, e.g. val/loss.
        pruner: one of `tasks.sweep.search.PRUNERS`.
        goal: max or min.
    """

    def __init__(self, *, folder: str, trial: int, monitor: str, pruner: str, goal: str):
        from tasks.sweep.search import open_study

        self.study = open_study(Path(folder), {monitor: goal}, {}, pruner=pruner)
        (frozen,) = [each for each in self.study.get_trials() if each.number == trial]
        import optuna

        self.trial = optuna.trial.Trial(self.study, frozen._trial_id)
        self.monitor = monitor

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        if trainer.sanity_checking or self.monitor not in trainer.callback_metrics:
            return
        epoch = trainer.current_epoch + 1
        if trainer.is_global_zero:
            self.trial.report(float(trainer.callback_metrics[self.monitor]), epoch)
        stop = trainer.strategy.reduce_boolean_decision(
            trainer.is_global_zero and self.trial.should_prune(), all=False
        )
        if stop:
            trainer.should_stop = True
            if trainer.is_global_zero:
                self.trial.set_user_attr("pruned", epoch)
