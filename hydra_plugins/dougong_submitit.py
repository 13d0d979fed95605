"""A launcher of Hydra that submits each job of a sweep to SLURM with submitit."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from hydra_plugins.dougong_queue import QueueLauncher


class SubmititLauncher(QueueLauncher):
    """Submits `python train.py OVERRIDES` for each job and waits for all of them.

    A failed job does not end the others (hydra-submitit-launcher stops at the first). The logs of
    the queue are in the folder of the sweep, in `submitit/`; the output of a job is in its own
    folder, in `job.log`.

    Args:
        cluster: slurm, or local for processes of this machine.
        n_jobs: how many jobs run at once.
        timeout_min: minutes that a job may take.
        cpus_per_task: cores of each process.
        gpus_per_node: GPUs of each machine; null leaves it to the queue.
        nodes: machines of each job.
        tasks_per_node: processes on each machine: as many as GPUs, where a job uses several.
        mem_gb: memory of each machine in GB; null leaves it to the queue.
        slurm: further options of sbatch, named as in submitit: {partition: gpu, account: me}.
    """

    extra, package = "slurm", "submitit"

    def __init__(
        self,
        cluster: str,
        n_jobs: int,
        timeout_min: int,
        cpus_per_task: int = 1,
        gpus_per_node: int | None = None,
        nodes: int = 1,
        tasks_per_node: int = 1,
        mem_gb: float | None = None,
        slurm: Mapping[str, Any] | None = None,
    ):
        super().__init__(n_jobs)
        if cluster not in ("slurm", "local"):
            raise ValueError(f"hydra.launcher.cluster is slurm or local, got {cluster}")
        options = {
            "timeout_min": timeout_min,
            "cpus_per_task": cpus_per_task,
            "gpus_per_node": gpus_per_node,
            "nodes": nodes,
            "tasks_per_node": tasks_per_node,
            "mem_gb": mem_gb,
        }
        self.cluster = cluster
        self.options = {name: value for name, value in options.items() if value is not None}
        for name, value in (slurm or {}).items():
            self.options[f"slurm_{name}"] = value

    def open(self) -> None:
        import submitit

        self.executor = submitit.AutoExecutor(folder=self.folder / "submitit", cluster=self.cluster)
        self.executor.update_parameters(name=f"dougong-{self.folder.name}", **self.options)

    def submit(self, jobs: dict[int, Callable[[], int]]) -> dict[int, Any]:
        batch: AbstractContextManager[Any] = nullcontext()
        if self.cluster == "slurm" and len(jobs) > 1:
            batch = self.executor.batch()  # one job array
        with batch:
            return {number: self.executor.submit(job) for number, job in jobs.items()}

    def is_done(self, handle: Any) -> bool:
        return handle.done()

    def status(self, handle: Any) -> int | None:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        try:
            results = handle.results()  # of each process of the job
        except (FailedJobError, UncompletedJobError):
            return None
        failures = [status for status in results if status]
        return failures[0] if failures else 0

    def cancel(self, handle: Any) -> None:
        handle.cancel()
