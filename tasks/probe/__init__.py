"""What the frozen features of a finished run know of the classes: `python -m tasks probe`."""

from tasks.probe.features import find_default_node
from tasks.probe.probe import ProbedRun, Row, probe_run

__all__ = ["ProbedRun", "Row", "find_default_node", "probe_run"]
