"""A launcher of Hydra that runs each job of a sweep as a task of Ray."""

from collections.abc import Callable
from typing import Any

from hydra_plugins.dougong_queue import QueueLauncher


class RayLauncher(QueueLauncher):
    """Runs `python train.py OVERRIDES` for each job, on this machine or on a cluster that shares
    its files.

    Args:
        address: of a running cluster; "auto" for the one of this machine; None starts Ray here for
            this sweep.
        n_jobs: how many jobs run at once.
        num_cpus: cores of a job.
        num_gpus: GPUs of a job, or a share of one.
    """

    extra, package = "ray", "ray"

    def __init__(self, address: str | None, n_jobs: int, num_cpus: float = 1, num_gpus: float = 0):
        super().__init__(n_jobs)
        self.address = address
        self.resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}

    def open(self) -> None:
        import ray

        options: dict[str, Any] = {}
        if not self.address:  # state the size of our own cluster, so that n_jobs always fit
            options["num_cpus"] = max(1, round(self.n_jobs * self.resources["num_cpus"]))
            options["include_dashboard"] = False
        ray.init(address=self.address, log_to_driver=False, logging_level="error", **options)

    def close(self) -> None:
        import ray

        ray.shutdown()

    def submit(self, jobs: dict[int, Callable[[], int]]) -> dict[int, Any]:
        import ray

        remote = ray.remote(max_retries=0, **self.resources)
        return {number: remote(job).remote() for number, job in jobs.items()}

    def is_done(self, handle: Any) -> bool:
        import ray

        return bool(ray.wait([handle], timeout=0)[0])

    def status(self, handle: Any) -> int | None:
        import ray

        try:
            return ray.get(handle)
        except ray.exceptions.RayError:  # the process or the machine that ran it is lost
            return None

    def cancel(self, handle: Any) -> None:
        import ray

        ray.cancel(handle, force=True)
