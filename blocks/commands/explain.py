"""One row a node: block, output shape, parameters, multiply-adds for one sample."""

import argparse
import json

from blocks.commands import Planner, add_no_server, levels, plan_composed_loss
from blocks.graph import compose
from blocks.graph.describe.cost import measure
from blocks.graph.describe.memory_budget import Setting, budget, text
from blocks.graph.describe.table import (
    comma_separated,
    describe,
    describe_objective,
    table,
    table_objective,
)
from blocks.graph.describe.why import why
from blocks.graph.record.record import count_parameters


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument(
        "overrides", nargs="*", help="as for train.py: model=vit model.params.depth=6"
    )
    parser.add_argument("--depth", type=levels, metavar="N", help="show N levels of nested nodes")
    parser.add_argument(
        "--all",
        action="store_true",
        help="more columns: share, memory for training, field, input, YAML",
    )
    parser.add_argument(
        "--memory", action="store_true", help="what a training takes of the memory of each device"
    )
    parser.add_argument(
        "--why", metavar="PATH", help="where one value comes from: layers.0.attention.inner.heads"
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--json", action="store_true", help="print an object with parameters, outputs, nodes"
    )
    forms.add_argument("--csv", action="store_true", help="print one line a node, nothing folded")
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)"
    )
    add_no_server(parser)


def run(chosen: argparse.Namespace) -> int:
    """Compose, build on the meta device, print; the exit status."""
    composed = compose(chosen.overrides, config_dir=chosen.config_dir)
    planned = Planner()(composed)
    if chosen.why:
        found = why(planned, chosen.why)
        if chosen.json:
            found = json.dumps({"path": chosen.why, "why": found}, indent=1)
        print(found)
        return 0
    if chosen.memory:
        setting = Setting.of(composed.config)
        parameters = count_parameters(planned.model)
        bytes_of = budget(planned, setting)
        answer = text(bytes_of, setting, parameters)
        if chosen.json:
            answer = json.dumps(bytes_of, indent=1)
        print(answer)
        return 0
    costs = measure(planned)
    objective = plan_composed_loss(composed, planned)
    if chosen.json:
        described = describe(planned, costs, chosen.depth)
        if objective is not None:
            described["objective"] = describe_objective(objective)
        print(json.dumps(described, indent=1))
    elif chosen.csv:
        print(comma_separated(planned, costs))
    else:
        print(table(planned, costs, chosen.depth, chosen.all))
        if objective is not None:
            print(f"\n{table_objective(objective)}")
    return 0
