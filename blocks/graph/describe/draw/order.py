"""The order of a body, without sizes: layers from top to bottom, chains, and channels beside them
for long edges.

Graphs of models are nearly chains with skips. The chain that ends in the output is the spine; other
chains and the edges that span layers are put beside it, short ones inside. The page and the static
drawing both add up sizes from this order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from blocks.graph.describe.draw.picture import Body, Edge


@dataclass
class Target:
    """The end of an edge.

    Args:
        vertex: where it ends.
        into: the input of that vertex.
        slot: its position at the top of the vertex, counted from the middle.
        entry: the input inside the vertex, if that is unfolded.
        straight: whether the edge follows its chain.
    """

    vertex: int
    into: str
    slot: int = 0
    entry: int = 0
    straight: bool = False


@dataclass
class Net:
    """All edges from one output of a vertex; they share one line.

    Args:
        slot, exit: as for a target, at the bottom of the source.
        lane: the lane of its channel, -1 for none.
    """

    source: int
    port: str
    shape: str
    targets: list[Target] = field(default_factory=list)
    slot: int = 0
    exit: int = 0
    lane: int = -1


@dataclass
class Lane:
    """What is placed as one column: a chain of vertices, or the channel of a net (no vertices).

    Args:
        side: 0 for the spine, -1 for left and 1 for right of it.
        first, last: layers that it spans.
    """

    side: int
    first: int
    last: int
    vertices: list[int] = field(default_factory=list)


@dataclass
class Order:
    """The order of a body: the layer of every vertex, the lanes in the order of placing, the
    nets.
    """

    layers: list[int]
    lanes: list[Lane]
    nets: list[Net]

    def lane_of(self, vertex: int) -> int:
        """The number of the lane of a vertex."""
        return next(index for index, lane in enumerate(self.lanes) if vertex in lane.vertices)


def order_body(body: Body, top: bool = False) -> Order:
    """Layers, lanes and nets of a body; `top` for that of the model."""
    layers = _find_layers(body, top)
    before = _main_predecessors(body, layers)
    chains = _find_chains(body, layers, before)
    home = {}
    for index, chain in enumerate(chains):
        home.update(dict.fromkeys(chain, index))
    lanes = [_make_lane(body, chain, layers, chain is chains[0]) for chain in chains]
    for chain, lane in list(zip(chains, lanes, strict=True))[1:]:
        if len(chain) == 1 and chain[0] < len(body.inputs):
            lane.side = _side_of_reader(body, chain[0], lanes, home)
    nets = _find_nets(body)
    for net in nets:
        for target in net.targets:
            is_main = _is_main(before[target.vertex], net, target)
            target.straight = is_main and home[target.vertex] == home[net.source]
    channels = list(_find_channels(nets, layers, lanes, home))
    beside = [*lanes[1:], *(lane for lane, _ in channels)]
    beside.sort(key=lambda lane: (lane.last - lane.first, bool(lane.vertices)))
    placed = [lanes[0], *beside]
    for lane, net in channels:
        net.lane = next(index for index, other in enumerate(placed) if other is lane)
    found = Order(layers, placed, nets)
    _assign_slots(body, found, before)
    return found


def _find_nets(body: Body) -> list[Net]:
    nets: dict[tuple[int, str], Net] = {}
    for edge in body.edges:
        net = nets.setdefault((edge.source, edge.port), Net(edge.source, edge.port, edge.shape))
        net.targets.append(Target(edge.target, edge.into))
    return list(nets.values())


def _is_main(main: Edge, net: Net, target: Target) -> bool:
    """Whether an edge of a net is the main one into its target."""
    return (main.source, main.port, main.into) == (net.source, net.port, target.into)


def _find_layers(body: Body, top: bool) -> list[int]:
    """The longest path from above; a vertex that feeds only something far below stands right over
    it.
    """
    layers = [0] * body.size
    for vertex in _topological(body):
        for edge in body.edges_into(vertex):
            layers[vertex] = max(layers[vertex], layers[edge.source] + 1)
    lowest = max(layers[body.first_output :], default=0)
    layers[body.first_output :] = [lowest] * len(body.outputs)
    for vertex in range(body.first_output):
        readers = [layers[edge.target] for edge in body.edges_from(vertex)]
        loose = not body.edges_into(vertex) and (vertex >= len(body.inputs) or (top and vertex > 0))
        if loose and readers:
            layers[vertex] = max(0, min(readers) - 1)
    return layers


def _topological(body: Body) -> Iterator[int]:
    """Every vertex after those that feed it."""
    waiting: dict[int, set[int]] = {vertex: set() for vertex in range(body.size)}
    for edge in body.edges:
        waiting[edge.target].add(edge.source)
    while waiting:
        ready = [vertex for vertex, sources in waiting.items() if not sources & waiting.keys()]
        for vertex in ready:
            del waiting[vertex]
        yield from ready


def _main_predecessors(body: Body, layers: list[int]) -> dict[int, Edge]:
    """The edge that runs straight down into each vertex: the first input, unless it only skips what
    the other inputs pass through.
    """
    above: dict[int, set[int]] = {}
    found = {}
    for vertex in sorted(range(body.size), key=layers.__getitem__):
        into = body.edges_into(vertex)
        above[vertex] = set()
        skipped: set[int] = set()
        for edge in into:
            above[vertex] |= {edge.source, *above[edge.source]}
            skipped |= above[edge.source]
        straight = [edge for edge in into if edge.source not in skipped]
        if into:
            found[vertex] = (straight or into)[0]
    return found


def _find_chains(body: Body, layers: list[int], before: dict[int, Edge]) -> list[list[int]]:
    """Vertices in chains, each followed upwards along its main input; first the spine, which ends
    in an output.
    """
    inner = sorted(range(body.first_output), key=lambda vertex: (-layers[vertex], vertex))
    taken: set[int] = set()
    chains = []
    for vertex in [*range(body.first_output, body.size), *inner]:
        chain: list[int] = []
        step: int | None = vertex
        while step is not None and step not in taken:
            taken.add(step)
            chain.insert(0, step)
            step = before[step].source if step in before else None
        if chain:
            chains.append(chain)
    return chains


def _make_lane(body: Body, chain: list[int], layers: list[int], spine: bool) -> Lane:
    side = 1
    if spine:
        side = 0
    elif chain[0] < len(body.inputs) and len(chain) > 1:
        side = -1
    return Lane(side, layers[chain[0]], layers[chain[-1]], chain)


def _side_of_reader(body: Body, vertex: int, lanes: list[Lane], home: dict[int, int]) -> int:
    """A lone input stands on the side of the first vertex that reads it."""
    edges = body.edges_from(vertex)
    if not edges:
        return 1
    return lanes[home[edges[0].target]].side or 1


def _find_channels(
    nets: list[Net], layers: list[int], lanes: list[Lane], home: dict[int, int]
) -> Iterator[tuple[Lane, Net]]:
    """A channel for every net that reaches beyond the next layer other than along its own chain."""
    for net in nets:
        far = []
        for target in net.targets:
            if layers[target.vertex] > layers[net.source] + 1 and not target.straight:
                far.append(target.vertex)
        if far:
            sides = [lanes[home[vertex]].side for vertex in (net.source, *far)]
            last = max(layers[vertex] for vertex in far) - 1
            side = next(filter(None, sides), 1)
            yield Lane(side, layers[net.source] + 1, last), net


def _assign_slots(body: Body, found: Order, before: dict[int, Edge]) -> None:
    """Slots of inputs and outputs: the straight one in the middle, the others on the side they come
    from or go to.
    """
    across = {}  # vertex -> how far to the side it stands: later lanes are further out
    for index, lane in enumerate(found.lanes):
        across.update(dict.fromkeys(lane.vertices, lane.side * index))
    taken: dict[tuple[int, int], int] = {}
    outputs: dict[int, int] = {}
    for net in found.nets:
        giver = body.node(net.source)
        if giver is not None and giver.body is not None:
            net.exit = giver.body.exit(net.port)
        net.slot = outputs.get(net.source, 0)
        outputs[net.source] = net.slot + 1
        for target in net.targets:
            taker = body.node(target.vertex)
            if taker is not None and taker.body is not None:
                target.entry = taker.body.entry(target.into)
            if _is_main(before[target.vertex], net, target):
                continue
            here = across[net.source]
            if net.lane >= 0 and found.layers[target.vertex] > found.layers[net.source] + 1:
                here = found.lanes[net.lane].side * net.lane
            side = 1 if here >= across[target.vertex] else -1
            taken[target.vertex, side] = taken.get((target.vertex, side), 0) + 1
            target.slot = side * taken[target.vertex, side]
