"""One row a node: block, output shape, parameters, share."""

import argparse
import json

from blocks.graph import compose, plan
from blocks.graph.explain import describe, table


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", help="as for train.py: model=vit model.params.depth=6")
    parser.add_argument("--json", action="store_true", help="print an object with parameters, outputs, nodes")
    parser.add_argument("--depth", type=int, metavar="N", help="show N levels of nested nodes")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)")


def run(chosen: argparse.Namespace) -> int:
    planned = plan(compose(chosen.overrides, config_dir=chosen.config_dir))
    description = describe(planned.model, planned.rows, {name: wire.shape for name, wire in planned.outputs.items()})
    print(json.dumps(description, indent=1) if chosen.json else table(description, chosen.depth))
    return 0
