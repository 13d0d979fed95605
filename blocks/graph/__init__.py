"""The assembler: YAML -> nn.Module. A graph of blocks is a block.

from blocks.graph import build
model = build("vit", overrides=["params.depth=6"], facts={"image": [3, 224, 224], "classes": 10})
"""

from blocks.catalog import here
from blocks.graph.assemble.objective import Sources, assemble_objective
from blocks.graph.build import assemble, build, plan
from blocks.graph.compose.compose import Composed, compose
from blocks.graph.compose.corrected import corrected_line
from blocks.graph.compose.overrides import parse_changes
from blocks.graph.compose.policy import stays_inside
from blocks.graph.errors import ConfigError, Problem, did_you_mean, show
from blocks.graph.record.module import Graph, locate
from blocks.graph.record.objective import BuiltObjective
from blocks.graph.record.record import Built
from blocks.graph.run.activation_checkpoint import find_repeats, use_activation_checkpointing
from blocks.graph.run.compile_regions import compile_network, is_compiled
from blocks.graph.run.entry import cut_at_node, open_cuts, open_entry, plan_entry
from blocks.graph.run.incremental import IncrementalModel
from blocks.graph.run.inplace import use_inplace
from blocks.graph.run.inspect import inspect_attention
from blocks.graph.run.onednn import linear, use_onednn
from blocks.graph.run.split_head import Headless, split_head
from blocks.graph.run.tensor_parallel import Columns, TensorParallelPlan, plan_tensor_parallel
from blocks.graph.run.verify_incremental import verify_incremental
from blocks.graph.weights import load_weights, save_weights
from blocks.graph.weights.finetune import fine_tune, freeze, learning_rates
from blocks.graph.weights.first import find_ends
from blocks.graph.weights.safe_load import read_archive
from blocks.graph.weights.shards import read_whole
from blocks.graph.weights.width import carry_starts, compare_widths, measure_starts
from blocks.support.conf_folders import conf_folder
from blocks.support.decode_cache import StepError

__all__ = [
    "Built",
    "BuiltObjective",
    "Columns",
    "Composed",
    "ConfigError",
    "Graph",
    "Headless",
    "IncrementalModel",
    "Problem",
    "Sources",
    "StepError",
    "TensorParallelPlan",
    "assemble",
    "assemble_objective",
    "build",
    "carry_starts",
    "compare_widths",
    "compile_network",
    "compose",
    "conf_folder",
    "corrected_line",
    "cut_at_node",
    "did_you_mean",
    "find_ends",
    "find_repeats",
    "fine_tune",
    "freeze",
    "here",
    "inspect_attention",
    "is_compiled",
    "learning_rates",
    "linear",
    "load_weights",
    "locate",
    "measure_starts",
    "open_cuts",
    "open_entry",
    "parse_changes",
    "plan",
    "plan_entry",
    "plan_tensor_parallel",
    "read_archive",
    "read_whole",
    "save_weights",
    "show",
    "split_head",
    "stays_inside",
    "use_activation_checkpointing",
    "use_inplace",
    "use_onednn",
    "verify_incremental",
]
