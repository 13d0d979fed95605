"""Questions about an architecture, answered without a minute of training: `python -m blocks explain model=vit`."""

import argparse
import json
import os
import sys

EXAMPLES = """examples:
  python -m blocks explain model=vit_ti16 data=imagenet
  python -m blocks explain model=vit model/mlp=swiglu model.params.depth=6 --depth 2
"""


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0, or 2 after a mistake of the user's."""
    parser = argparse.ArgumentParser("python -m blocks", description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    explain = commands.add_parser("explain", help="one row a node: block, output shape, parameters, share")
    explain.add_argument("overrides", nargs="*", help="as for train.py: model=vit model.params.depth=6")
    explain.add_argument("--json", action="store_true", help="print an object with parameters, outputs, nodes")
    explain.add_argument("--depth", type=int, metavar="N", help="show N levels of nested nodes")
    explain.add_argument("--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)")
    chosen = parser.parse_args(arguments)
    # Torch is imported only now: --help answers at once.
    from blocks.graph import ConfigError

    try:
        return _explain(chosen)
    except ConfigError as error:
        if os.environ.get("DOUGONG_DEBUG") == "1":
            raise
        print(error, file=sys.stderr)
        return 2


def _explain(chosen: argparse.Namespace) -> int:
    from blocks.graph import compose, plan
    from blocks.graph.explain import describe, table

    planned = plan(compose(chosen.overrides, config_dir=chosen.config_dir))
    description = describe(planned.model, planned.rows, {name: wire.shape for name, wire in planned.outputs.items()})
    print(json.dumps(description, indent=1) if chosen.json else table(description, chosen.depth))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
