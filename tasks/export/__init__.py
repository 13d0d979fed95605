"""A finished run for other programs: ONNX, torch.export, safetensors, or a folder for the Hub."""

from tasks.export.cut import cut_network
from tasks.export.export import check_packages, end_at_node, export_run, take_entry
from tasks.export.formats import FORMATS, Format
from tasks.export.inputs import make_inputs, read_entry_inputs, read_inputs

__all__ = [
    "FORMATS",
    "Format",
    "check_packages",
    "cut_network",
    "end_at_node",
    "export_run",
    "make_inputs",
    "read_entry_inputs",
    "read_inputs",
    "take_entry",
]
