"""Sizes added up along the order: where every box, line and label of a body is drawn.

`layout.js` repeats these sums in the page whenever a node is folded or unfolded.

Boxes stand in layers; all horizontal lines run in the gaps between layers, all long vertical ones
in channels of their own. So no line crosses a box.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from blocks.graph.describe.draw.faces import HEAD, face_size, label_width, least_width, pill_size
from blocks.graph.describe.draw.order import Lane, Net, Order, Target, order_body
from blocks.graph.describe.draw.picture import Body, DrawnNode

PAD, BOX_GAP, LINE_GAP, ROW, LABEL, TIP, SLOT, OUT_SLOT, NEAR = 16, 26, 14, 9, 18, 14, 20, 60, 7
Point = tuple[float, float]
Ways = Sequence[Point]  # of the edges of a net in a gap: x where each enters and leaves it


@dataclass
class Box:
    """A vertex on the paper, in the coordinates of its body; `inside` where it is unfolded."""

    x: float
    y: float
    w: float
    h: float
    inside: "Sheet | None" = None


@dataclass
class Line:
    """An edge: the number of its net, its corners, whether it skips nodes and ends in an arrow."""

    net: int
    points: list[Point]
    skip: bool
    tip: bool


@dataclass
class Sheet:
    """A body on the paper."""

    w: float = 0
    h: float = 0
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    labels: list[tuple[int, float, float]] = field(default_factory=list)


def lay_out(body: Body, owner: DrawnNode | None = None) -> Sheet:
    """Lay out a body, with what is unfolded inside it."""
    return _Layout(body, owner).lay_out()


def is_labelled(body: Body, net: Net, top: bool) -> bool:
    """Whether a line bears its shape: not where the line around the body bears it already."""
    if not net.shape or (not top and net.source < len(body.inputs)):
        return False
    return top or any(target.vertex < body.first_output for target in net.targets)


class _Layout:
    def __init__(self, body: Body, owner: DrawnNode | None):
        self.body, self.owner = body, owner
        self.order: Order = order_body(body, top=owner is None)
        self.layers, self.nets = self.order.layers, self.order.nets
        self.depth = max(self.layers, default=0) + 1
        self.boxes = list(map(self._make_box, range(body.size)))
        self.home = list(map(self.order.lane_of, range(body.size)))
        self.labelled = [is_labelled(body, net, owner is None) for net in self.nets]
        self.left, self.right = [0.0] * self.depth, [0.0] * self.depth
        self.lane_x: list[float] = []
        self.row_y: list[float] = []

    def lay_out(self) -> Sheet:
        for lane in self.order.lanes:
            self._place_lane(lane)
        rows = list(map(self._find_rows, range(self.depth)))
        tops, ends = self._find_heights(rows)
        sheet = Sheet(boxes=self.boxes)
        for vertex, box in enumerate(self.boxes):
            box.y = tops[self.layers[vertex]]
        for number, net in enumerate(self.nets):
            for target in net.targets:
                sheet.lines.append(self._draw_line(number, net, target, rows))
            if self.labelled[number]:
                box = self.boxes[net.source]
                sheet.labels.append((number, self._out_x(net) + 6, box.y + box.h + 13))
        self._fit(sheet, ends[-1])
        return sheet

    def _make_box(self, vertex: int) -> Box:
        node = self.body.node(vertex)
        if node is None:
            return Box(0, 0, *pill_size(self.body, vertex, self.owner is None))
        if node.body is not None and node.opened:
            inside = lay_out(node.body, node)
            return Box(0, 0, inside.w, inside.h, inside)
        return Box(0, 0, *face_size(node))

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
        for net, shown in zip(self.nets, self.labelled, strict=True):
            if net.source == vertex and shown:
                start = self._out_x(net) - self.boxes[vertex].x
                reach = max(reach, start + 8 + label_width(net.shape))
        return reach

    # The gaps -------------------------------------------------------------------------------------

    def _find_way(self, net: Net, target: Target, gap: int) -> Point | None:
        """The x at which an edge enters a gap from above, and the x at which it leaves it below."""
        first, last = self.layers[net.source], self.layers[target.vertex]
        if not first <= gap < last:
            return None
        lane = self.home[target.vertex] if target.straight else net.lane
        start = end = self.lane_x[lane]
        if gap == first:
            start = self._out_x(net)
        if gap == last - 1:
            end = self._in_x(target)
        return start, end

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

    def _find_ways(self, gap: int) -> dict[int, list[Point]]:
        """Net -> the ways of its edges through a gap, for nets that bend in it."""
        ways = {}
        for number, net in enumerate(self.nets):
            found = []
            for target in net.targets:
                if way := self._find_way(net, target, gap):
                    found.append(way)
            if any(map(_bends, found)):
                ways[number] = found
        return ways

    def _find_heights(self, rows: list[dict[int, int]]) -> tuple[list[float], list[float]]:
        """The y at which each layer begins and ends."""
        y = float(PAD if self.owner is None else HEAD)
        tops, ends = [], []
        labelled = set()
        for net, shown in zip(self.nets, self.labelled, strict=True):
            if shown:
                labelled.add(self.layers[net.source])
        for layer in range(self.depth):
            tops.append(y)
            heights = [0.0]
            for vertex, box in enumerate(self.boxes):
                if self.layers[vertex] == layer:
                    heights.append(box.h)
            y += max(heights)
            ends.append(y)
            y += LABEL if layer in labelled else 4
            self.row_y.append(y + 3)
            y += ROW * (max(rows[layer].values(), default=-1) + 1) + TIP
        return tops, ends

    def _draw_line(self, number: int, net: Net, target: Target, rows: list[dict[int, int]]) -> Line:
        source, end = self.boxes[net.source], self.boxes[target.vertex]
        first, last = self.layers[net.source], self.layers[target.vertex]
        points = [(self._out_x(net), source.y + source.h)]
        for gap in range(first, last):
            way = self._find_way(net, target, gap)
            if way is not None and _bends(way):
                y = self.row_y[gap] + ROW * rows[gap][number]
                points += [(way[0], y), (way[1], y)]
        points.append((self._in_x(target), end.y))
        return Line(number, points, last > first + 1 and not target.straight, bool(end.h))

    def _fit(self, sheet: Sheet, bottom: float) -> None:
        """Move everything to the right of 0, and find the size of the whole."""
        xs = [x for line in sheet.lines for x, _ in line.points]
        left, right = min([*self.left, *xs]), max([*self.right, *xs])
        sheet.w = right - left + 2 * PAD
        if self.owner is not None:
            sheet.w = max(sheet.w, least_width(self.owner))
        move = (sheet.w - (right - left)) / 2 - left
        for box in sheet.boxes:
            box.x += move
        for line in sheet.lines:
            line.points = [(x + move, y) for x, y in line.points]
        sheet.labels = [(number, x + move, y) for number, x, y in sheet.labels]
        sheet.h = bottom
        if self.owner is None:
            sheet.h += PAD
        elif all(box.h for box in sheet.boxes[self.body.first_output :]):
            sheet.h += 10


def _bends(way: Point) -> bool:
    return abs(way[0] - way[1]) >= 0.5


def _pick_net(ways: dict[int, list[Point]], rest: list[int]) -> int:
    """The first net of the rest above which no other must run; the first of all in a cycle."""
    for number in rest:
        if not any(_is_above(ways[other], ways[number]) for other in rest if other != number):
            return number
    return rest[0]


def _is_above(upper: Ways, lower: Ways) -> bool:
    """Whether a line begins in the column in which another ends: it must turn away before the other
    comes.
    """
    return any(abs(a - b) < NEAR for a, _ in upper for _, b in lower)


def _overlap(one: Ways, other: Ways) -> bool:
    """Whether two horizontal lines meet."""
    low = max(min(map(min, one)), min(map(min, other)))
    high = min(max(map(max, one)), max(map(max, other)))
    return low - NEAR < high
