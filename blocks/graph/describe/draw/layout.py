"""Sizes added up along the order: where every box, line and label of a body is drawn.

Boxes stand in layers; all horizontal lines run in the gaps between layers, all long vertical ones
in channels of their own. So no line crosses a box.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from blocks.graph.describe.draw.faces import HEAD, face_size, least_width, pill_size, text_width
from blocks.graph.describe.draw.order import Lane, Net, Order, Target, order_body
from blocks.graph.describe.draw.picture import Body, DrawnNode

PAD, BOX_GAP, LINE_GAP, ROW, LABEL, TIP, SLOT, OUT_SLOT, NEAR = 16, 26, 14, 9, 18, 14, 20, 60, 7
Point = tuple[float, float]


@dataclass
class Box:
    """A vertex on the paper, in the coordinates of its body; `inside` where it is unfolded."""

    x: float
    y: float
    w: float
    h: float
    inside: "Sheet | None" = None


@dataclass(frozen=True)
class Way:
    """An edge in the gap below a layer: the x at which it enters from above and leaves below.

    Args:
        drop: how far below the boxes of the layer its horizontal line is.
    """

    gap: int
    start: float
    end: float
    drop: float = 0

    @property
    def bends(self) -> bool:
        """Whether it has a horizontal line."""
        return abs(self.start - self.end) >= 0.5

    def corners(self, y: float) -> list[Point]:
        """The ends of its horizontal line, if the gap begins at `y`."""
        if not self.bends:
            return []
        return [(self.start, y + self.drop), (self.end, y + self.drop)]


@dataclass
class Line:
    """An edge: its way through every gap, all its corners, whether it skips nodes and ends in an
    arrow.
    """

    net: Net
    target: Target
    ways: list[Way]
    points: list[Point]
    skip: bool
    tip: bool


@dataclass
class Sheet:
    """A body on the paper.

    Args:
        boxes, layers: by vertex.
        tops, ends: the y at which each layer begins and ends.
        labels: nets that bear their shape, and the x where it begins.
    """

    w: float
    h: float
    boxes: list[Box]
    layers: list[int]
    tops: list[float]
    ends: list[float]
    lines: list[Line]
    labels: list[tuple[Net, float]]


def lay_out(body: Body, owner: DrawnNode | None = None, whole: bool = False) -> Sheet:
    """Lay out a body, with what is unfolded inside it; `whole` unfolds everything."""
    return _Layout(body, owner, whole).lay_out()


class _Layout:
    def __init__(self, body: Body, owner: DrawnNode | None, whole: bool):
        self.body, self.owner, self.whole = body, owner, whole
        self.order: Order = order_body(body, top=owner is None)
        self.layers, self.nets = self.order.layers, self.order.nets
        self.depth = max(self.layers, default=0) + 1
        self.boxes = list(map(self._make_box, range(body.size)))
        self.home = list(map(self.order.lane_of, range(body.size)))
        self.labelled = list(filter(self._is_labelled, self.nets))
        self.left, self.right = [0.0] * self.depth, [0.0] * self.depth
        self.lane_x: list[float] = []

    def lay_out(self) -> Sheet:
        for lane in self.order.lanes:
            self._place_lane(lane)
        width = self._move_right()
        rows = list(map(self._find_rows, range(self.depth)))
        tops, ends = self._find_heights(rows)
        for vertex, box in enumerate(self.boxes):
            box.y = tops[self.layers[vertex]]
        lines = []
        for number, net in enumerate(self.nets):
            for target in net.targets:
                lines.append(
                    self._draw_line(net, target, [row.get(number, 0) for row in rows], ends)
                )
        height = ends[-1] + self._margin()
        labels = [(net, self._out_x(net) + 6) for net in self.labelled]
        return Sheet(width, height, self.boxes, self.layers, tops, ends, lines, labels)

    def _make_box(self, vertex: int) -> Box:
        node = self.body.node(vertex)
        if node is None:
            return Box(0, 0, *pill_size(self.body, vertex, self.owner is None))
        if node.body is not None and (node.opened or self.whole):
            inside = lay_out(node.body, node, self.whole)
            return Box(0, 0, inside.w, inside.h, inside)
        return Box(0, 0, *face_size(node))

    def _is_labelled(self, net: Net) -> bool:
        """Whether a line bears its shape: not where the line around the body bears it already."""
        if self.owner is None or not net.shape:
            return bool(net.shape)
        inner = net.source >= len(self.body.inputs)
        return inner and any(target.vertex < self.body.first_output for target in net.targets)

    # Across ---------------------------------------------------------------------------------------

    def _anchor(self, vertex: int) -> float:
        """Where the straight line of its lane meets a box, from its left."""
        for net in self.nets:
            for target in net.targets:
                if target.vertex == vertex and target.slot == 0:
                    return self._in_x(target) - self.boxes[vertex].x
        return self.boxes[vertex].w / 2

    def _in_x(self, target: Target) -> float:
        """Where an edge enters a box."""
        return self._port_x(target.vertex, target.entry, target.slot * SLOT)

    def _out_x(self, net: Net) -> float:
        """Where a net leaves its box."""
        return self._port_x(net.source, net.exit, net.slot * OUT_SLOT)

    def _port_x(self, vertex: int, port: int, shift: float) -> float:
        """The input or output inside an unfolded box; for a folded one, a shift from the middle."""
        box = self.boxes[vertex]
        if box.inside is None:
            return box.x + box.w / 2 + shift
        inner = box.inside.boxes[port]
        return box.x + inner.x + inner.w / 2

    def _place_lane(self, lane: Lane) -> None:
        """Place a lane as near to the spine as the lanes before it allow."""
        # how far the lane reaches to its left and right, in each layer
        near, far = [0.0] * self.depth, [0.0] * self.depth
        for vertex in lane.vertices:
            layer, box, anchor = self.layers[vertex], self.boxes[vertex], self._anchor(vertex)
            near[layer] = anchor
            far[layer] = max(box.w - anchor, self._label_reach(vertex) - anchor)
        layers = range(lane.first, lane.last + 1)
        gap = BOX_GAP if lane.vertices else LINE_GAP
        x = 0.0
        if lane.side > 0:
            x = max(self.right[layer] + gap + near[layer] for layer in layers)
        elif lane.side < 0:
            x = min(self.left[layer] - gap - far[layer] for layer in layers)
        if not lane.vertices:
            x = self._straighten(len(self.lane_x), lane.side, x)
        for layer in layers:
            self.left[layer] = min(self.left[layer], x - near[layer])
            self.right[layer] = max(self.right[layer], x + far[layer])
        for vertex in lane.vertices:
            self.boxes[vertex].x = x - self._anchor(vertex)
        self.lane_x.append(x)

    def _straighten(self, index: int, side: int, x: float) -> float:
        """Move a channel out to where its line begins or ends, if that is further out: one bend
        fewer.
        """
        net = next(net for net in self.nets if net.lane == index)
        if self.home[net.source] < index and (self._out_x(net) - x) * side > 0:
            return self._out_x(net)
        for target in net.targets:
            if self.home[target.vertex] < index and (self._in_x(target) - x) * side > 0:
                return self._in_x(target)
        return x

    def _label_reach(self, vertex: int) -> float:
        """How far the labels below a box reach, from its left."""
        reach = 0.0
        for net in self.labelled:
            if net.source == vertex:
                start = self._out_x(net) - self.boxes[vertex].x
                reach = max(reach, start + 8 + text_width(net.shape, 10))
        return reach

    # The gaps -------------------------------------------------------------------------------------

    def _find_way(self, net: Net, target: Target, gap: int) -> Way:
        """The way of an edge through a gap that it crosses."""
        lane = self.home[target.vertex] if target.straight else net.lane
        start = end = self.lane_x[lane]
        if gap == self.layers[net.source]:
            start = self._out_x(net)
        if gap == self.layers[target.vertex] - 1:
            end = self._in_x(target)
        return Way(gap, start, end)

    def _find_rows(self, gap: int) -> dict[int, int]:
        """Net -> the row of its horizontal line in a gap. Where one ends over another's beginning,
        it runs above.
        """
        ways = self._find_ways(gap)
        rows: dict[int, int] = {}
        rest = sorted(
            ways, key=lambda number: (self.layers[self.nets[number].source] != gap, number)
        )
        while rest:
            number = _pick_net(ways, rest)
            rest.remove(number)
            row = 0
            for other, taken in rows.items():
                if _is_above(ways[other], ways[number]):
                    row = max(row, taken + 1)
            while any(rows[other] == row and _overlap(ways[other], ways[number]) for other in rows):
                row += 1
            rows[number] = row
        return rows

    def _find_ways(self, gap: int) -> dict[int, list[Way]]:
        """Net -> the ways of its edges through a gap, for nets that bend in it."""
        ways = {}
        for number, net in enumerate(self.nets):
            found = []
            for target in net.targets:
                if self.layers[net.source] <= gap < self.layers[target.vertex]:
                    found.append(self._find_way(net, target, gap))
            if any(way.bends for way in found):
                ways[number] = found
        return ways

    def _find_heights(self, rows: list[dict[int, int]]) -> tuple[list[float], list[float]]:
        """The y at which each layer begins and ends."""
        y = float(PAD if self.owner is None else HEAD)
        tops, ends = [], []
        for layer in range(self.depth):
            tops.append(y)
            heights = [0.0]
            for vertex, box in enumerate(self.boxes):
                if self.layers[vertex] == layer:
                    heights.append(box.h)
            y += max(heights)
            ends.append(y)
            lines = max(rows[layer].values(), default=-1) + 1
            y += self._label_height(layer) + ROW * lines + TIP
        return tops, ends

    def _label_height(self, layer: int) -> int:
        """The height of the labels below a layer."""
        labelled = any(self.layers[net.source] == layer for net in self.labelled)
        return LABEL if labelled else 4

    def _draw_line(self, net: Net, target: Target, rows: list[int], ends: list[float]) -> Line:
        """An edge; `rows` has its row in each gap."""
        source, end = self.boxes[net.source], self.boxes[target.vertex]
        first, last = self.layers[net.source], self.layers[target.vertex]
        points, ways = [(self._out_x(net), source.y + source.h)], []
        for gap in range(first, last):
            drop = self._label_height(gap) + 3 + ROW * rows[gap]
            way = replace(self._find_way(net, target, gap), drop=drop)
            ways.append(way)
            points += way.corners(ends[gap])
        points.append((self._in_x(target), end.y))
        skip = last > first + 1 and not target.straight
        return Line(net, target, ways, points, skip, tip=bool(end.h))

    def _move_right(self) -> float:
        """Move everything to the right of 0, and return the width of the whole."""
        xs = [*self.left, *self.right, *map(self._out_x, self.nets)]
        for net in self.nets:
            xs += map(self._in_x, net.targets)
        left, right = min(xs), max(xs)
        width = right - left + 2 * PAD
        if self.owner is not None:
            width = max(width, least_width(self.owner))
        move = (width - (right - left)) / 2 - left
        for box in self.boxes:
            box.x += move
        self.lane_x = [x + move for x in self.lane_x]
        return width

    def _margin(self) -> int:
        """The space below the last layer: none where lines leave the body."""
        if self.owner is None:
            return PAD
        if all(box.h for box in self.boxes[self.body.first_output :]):
            return 10
        return 0


def _pick_net(ways: dict[int, list[Way]], rest: list[int]) -> int:
    """The first net of the rest above which no other must run; the first of all in a cycle."""
    for number in rest:
        if not any(_is_above(ways[other], ways[number]) for other in rest if other != number):
            return number
    return rest[0]


def _is_above(upper: Sequence[Way], lower: Sequence[Way]) -> bool:
    """Whether a line begins in the column in which another ends: it must turn away before the other
    comes.
    """
    return any(abs(one.start - other.end) < NEAR for one in upper for other in lower)


def _overlap(one: Sequence[Way], other: Sequence[Way]) -> bool:
    """Whether two horizontal lines meet."""
    one_low, one_high = _span(one)
    other_low, other_high = _span(other)
    return max(one_low, other_low) - NEAR < min(one_high, other_high)


def _span(ways: Sequence[Way]) -> Point:
    xs = [x for way in ways for x in (way.start, way.end)]
    return min(xs), max(xs)
