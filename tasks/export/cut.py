"""A network that ends at one of its nodes, e.g. the encoder of a pre-training."""

from torch import nn

from blocks.graph import Graph, cut_at_node
from blocks.graph.errors import NodeError
from tasks.errors import ArgumentError

OUTPUT = "features"  # of the network that ends at a node


def cut_network(network: nn.Module, path: str) -> Graph:
    """Return a network that gives the first output of a node as "features", with the parts that it
    depends on and no others; the weights are those of the network, under their names.

    Args:
        network: composed in YAML.
        path: of a node, e.g. "pool" or "layers.2".

    Raises:
        ArgumentError: there is no such node, or it is inside a block or a scan.
    """
    if not isinstance(network, Graph):
        raise ArgumentError("node", "only a network of YAML has nodes", got=path)
    try:
        return cut_at_node(network, path, OUTPUT).eval()
    except NodeError as error:
        (problem,) = error.problems
        fix = problem.fix
        if problem.code == "unknown-name":
            fix = "--node PATH, as `python -m blocks explain` prints it for this model"
        raise ArgumentError(
            "node",
            problem.problem,
            got=problem.got,
            fits=problem.fits,
            fix=fix,
            code=problem.code,
        ) from None
