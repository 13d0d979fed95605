"""Who stands where in a body, without sizes: layers from top to bottom, chains, channels beside
them for long edges.

Graphs of models are nearly chains with skips. The chain that ends in the output is the spine; other
chains and the edges that span layers are put beside it, short ones inside. The page and the static
picture both add up sizes from this one order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from blocks.graph.describe.draw.picture import Body, Edge


@dataclass
class Target:
    """Where an edge ends: a vertex, the slot around the middle of its top, the input inside it, if
    along its chain.
    """

    vertex: int
    into: str
    slot: int = 0
    entry: int = 0
    straight: bool = False


@dataclass
class Net:
    """All edges from one output of a vertex: they share one line. `lane` is the lane of its
    channel, -1 for none.
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
    """What is placed as one column: a chain of vertices, or the channel of a net (no vertices)."""

    side: int
    first: int
    last: int
    vertices: list[int] = field(default_factory=list)


@dataclass
class Order:
    """The order of a body: the layer and the lane of every vertex, the lanes in the order of
    placing, the nets.
    """

    layers: list[int]
    lanes: list[Lane]
    nets: list[Net]

    def lane_of(self, vertex: int) -> int:
        return next(place for place, lane in enumerate(self.lanes) if vertex in lane.vertices)


def order(body: Body, top: bool = False) -> Order:
    """Layers, lanes and nets of a body."""
    layers = _layers(body, top)
    before = _main_predecessors(body, layers)
    chains = _chains(body, layers, before)
    nets: dict[tuple[int, str], Net] = {}
    for edge in body.edges:
        net = nets.setdefault((edge.source, edge.port), Net(edge.source, edge.port, edge.shape))
        net.targets.append(Target(edge.target, edge.into))
    home = {vertex: place for place, chain in enumerate(chains) for vertex in chain}
    lanes = [_lane(body, chain, layers, spine=not place) for place, chain in enumerate(chains)]
    for place, chain in enumerate(chains):
        _stand_by_its_reader(body, chain, place, lanes, home)
    for net in nets.values():
        for target in net.targets:
            main = before[target.vertex]
            same = (main.source, main.port, main.into) == (net.source, net.port, target.into)
            target.straight = same and home[target.vertex] == home[net.source]
    channels = list(_channels(list(nets.values()), layers, lanes, home))
    placed = [
        lanes[0],
        *sorted(
            [*lanes[1:], *(lane for lane, _ in channels)],
            key=lambda lane: (lane.last - lane.first, bool(lane.vertices)),
        ),
    ]
    for lane, net in channels:
        net.lane = next(place for place, other in enumerate(placed) if other is lane)
    result = Order(layers, placed, list(nets.values()))
    _slots(body, result, before)
    return result


def _layers(body: Body, top: bool) -> list[int]:
    """Longest path from above; what only feeds something far below stands right over it."""
    layers = [0] * body.size
    for vertex in _topological(body):
        above = [layers[edge.source] + 1 for edge in body.edges if edge.target == vertex]
        layers[vertex] = max(above, default=0)
    last = len(body.inputs) + len(body.nodes)
    lowest = max([layers[vertex] for vertex in range(last, body.size)], default=0)
    for vertex in range(last, body.size):
        layers[vertex] = lowest
    fed = {edge.target for edge in body.edges}
    for vertex in range(last):
        readers = [layers[edge.target] for edge in body.edges if edge.source == vertex]
        loose = vertex not in fed and (vertex >= len(body.inputs) or (top and vertex > 0))
        if loose and readers:
            layers[vertex] = max(0, min(readers) - 1)
    return layers


def _topological(body: Body) -> Iterator[int]:
    waiting = {
        vertex: {edge.source for edge in body.edges if edge.target == vertex}
        for vertex in range(body.size)
    }
    while waiting:
        ready = [vertex for vertex, sources in waiting.items() if not sources & waiting.keys()]
        yield from ready
        waiting = {vertex: sources for vertex, sources in waiting.items() if vertex not in ready}


def _main_predecessors(body: Body, layers: list[int]) -> dict[int, Edge]:
    """The edge that goes on straight down: the first input, unless it only skips what the other
    inputs come through.
    """
    above: dict[int, set[int]] = {}
    found = {}
    for vertex in sorted(range(body.size), key=lambda v: layers[v]):
        into = [edge for edge in body.edges if edge.target == vertex]
        above[vertex] = {edge.source for edge in into}.union(
            *(above.get(edge.source, set()) for edge in into)
        )
        straight = [
            edge for edge in into if not any(edge.source in above[other.source] for other in into)
        ]
        if into:
            found[vertex] = (straight or into)[0]
    return found


def _chains(body: Body, layers: list[int], before: dict[int, Edge]) -> list[list[int]]:
    """Vertices in chains, each followed upwards along its main input; first the spine, which ends
    in an output.
    """
    outputs = range(len(body.inputs) + len(body.nodes), body.size)
    rest = [
        *outputs,
        *sorted((v for v in range(body.size) if v not in outputs), key=lambda v: (-layers[v], v)),
    ]
    taken: set[int] = set()
    chains = []
    for vertex in rest:
        chain: list[int] = []
        step: int | None = vertex
        while step is not None and step not in taken:
            taken.add(step)
            chain.append(step)
            step = before[step].source if step in before else None
        if chain:
            chains.append(chain[::-1])
    return chains


def _lane(body: Body, chain: list[int], layers: list[int], spine: bool) -> Lane:
    begins_here = chain[0] < len(body.inputs) and len(chain) > 1
    return Lane(
        0 if spine else -1 if begins_here else 1, layers[chain[0]], layers[chain[-1]], chain
    )


def _stand_by_its_reader(
    body: Body, chain: list[int], place: int, lanes: list[Lane], home: dict[int, int]
) -> None:
    """A lone input stands on the side of what reads it."""
    if place and len(chain) == 1 and chain[0] < len(body.inputs):
        sides = [lanes[home[edge.target]].side for edge in body.edges if edge.source == chain[0]]
        lanes[place].side = sides[0] if sides and sides[0] else 1


def _channels(
    nets: list[Net], layers: list[int], lanes: list[Lane], home: dict[int, int]
) -> Iterator[tuple[Lane, Net]]:
    """A channel for every net that reaches beyond the next layer other than along its own chain."""
    for net in nets:
        far = [
            target.vertex
            for target in net.targets
            if layers[target.vertex] > layers[net.source] + 1 and not target.straight
        ]
        if far:
            sides = [lanes[home[vertex]].side for vertex in (net.source, *far)]
            last = max(layers[vertex] for vertex in far) - 1
            yield Lane(next((side for side in sides if side), 1), layers[net.source] + 1, last), net


def _slots(body: Body, found: Order, before: dict[int, Edge]) -> None:
    """Slots of inputs and outputs: the straight one in the middle, the others on the side they come
    from or go to.
    """
    across = {
        vertex: lane.side * place
        for place, lane in enumerate(found.lanes)
        for vertex in lane.vertices
    }  # later is further out
    taken: dict[tuple[int, int], int] = {}
    outputs: dict[int, int] = {}
    for net in found.nets:
        giver = body.node(net.source)
        net.exit = giver.body.exit(net.port) if giver is not None and giver.body is not None else 0
        net.slot, outputs[net.source] = outputs.get(net.source, 0), outputs.get(net.source, 0) + 1
        for target in net.targets:
            taker, main = body.node(target.vertex), before[target.vertex]
            target.entry = (
                taker.body.entry(target.into) if taker is not None and taker.body is not None else 0
            )
            if (main.source, main.port, main.into) == (net.source, net.port, target.into):
                continue
            far = net.lane >= 0 and found.layers[target.vertex] > found.layers[net.source] + 1
            here = found.lanes[net.lane].side * net.lane if far else across[net.source]
            way = 1 if here >= across[target.vertex] else -1
            taken[target.vertex, way] = taken.get((target.vertex, way), 0) + 1
            target.slot = way * taken[target.vertex, way]
