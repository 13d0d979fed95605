"""Each run of a sweep a job of SLURM, or of this machine, through submitit."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from hydra_plugins.dougong_queue import QueueLauncher


class SubmititLauncher(QueueLauncher):
    """Submits `python train.py OVERRIDES` for each job and waits for all of them.

    A failed job takes no other with it (hydra-submitit-launcher ends at the first). Logs of the
    queue lie in the folder of the sweep, in `submitit/`; what a job prints lies in its own folder,
    in `job.log`.

    Args:
        cluster: slurm, or local for processes of this machine.
        n_jobs: how many run at once.
        timeout_min: minutes that a job may take.
        cpus_per_task: cores of each process.
        gpus_per_node: GPUs of each machine; null leaves it to the queue.
        nodes: machines of each job.
        tasks_per_node: processes on each machine: as many as GPUs, where a job uses several.
        mem_gb: memory of each machine; null leaves it to the queue.
        slurm: more words for sbatch as submitit spells them: {partition: gpu, account: me}.
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
        asked = {
            "timeout_min": timeout_min,
            "cpus_per_task": cpus_per_task,
            "gpus_per_node": gpus_per_node,
            "nodes": nodes,
            "tasks_per_node": tasks_per_node,
            "mem_gb": mem_gb,
        }
        self.cluster, self.asked = (
            cluster,
            {name: value for name, value in asked.items() if value is not None},
        )
        self.more = {f"slurm_{name}": value for name, value in (slurm or {}).items()}

    def open(self) -> None:
        import submitit

        self.executor = submitit.AutoExecutor(folder=self.place / "submitit", cluster=self.cluster)
        self.executor.update_parameters(
            name=f"dougong-{self.place.name}", **self.asked, **self.more
        )

    def submit(self, jobs: dict[int, Callable[[], int]]) -> dict[int, Any]:
        several = (
            self.executor.batch()
            if self.cluster == "slurm" and len(jobs) > 1
            else contextlib.nullcontext()
        )
        with several:  # one array of jobs for the queue
            return {number: self.executor.submit(job) for number, job in jobs.items()}

    def is_done(self, handle: Any) -> bool:
        return handle.done()

    def status(self, handle: Any) -> int | None:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        try:
            results = handle.results()  # of each process of the job
        except (FailedJobError, UncompletedJobError):
            return None
        return next((status for status in results if status), 0)

    def cancel(self, handle: Any) -> None:
        handle.cancel()
