"""Sizes added up along the order: where every box, line and label of a body is drawn.

`page.js` does the same sums.

Boxes stand in layers; all horizontal lines run in the gaps between layers, all long vertical ones
in channels of their own. So no line crosses a box.
"""

from dataclasses import dataclass, field

from blocks.graph.describe.draw.faces import HEAD, face, head, label_width, pill
from blocks.graph.describe.draw.order import Net, Order, Target, order
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


@dataclass
class Line:
    """An edge: its corners, and whether it skips nodes, ends in an arrow, may carry nothing."""

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


def lay(body: Body, owner: DrawnNode | None = None) -> Sheet:
    """Lay out a body, with what is unfolded inside it."""
    return _Layout(body, owner).sheet()


class _Layout:
    def __init__(self, body: Body, owner: DrawnNode | None):
        self.body, self.owner = body, owner
        self.order: Order = order(body, top=owner is None)
        self.depth = max(self.order.layers, default=0) + 1
        self.boxes = [self._box(vertex) for vertex in range(body.size)]
        self.home = [self.order.lane_of(vertex) for vertex in range(body.size)]
        self.labelled = [labelled(body, net, owner is None) for net in self.order.nets]

    def sheet(self) -> Sheet:
        self._columns()
        rows = [self._rows(gap) for gap in range(self.depth)]
        tops, ends = self._heights(rows)
        sheet = Sheet(boxes=self.boxes)
        for vertex, box in enumerate(self.boxes):
            box.y = tops[self.order.layers[vertex]]
        for number, net in enumerate(self.order.nets):
            for target in net.targets:
                sheet.lines.append(self._line(number, net, target, rows, ends))
            if self.labelled[number]:
                box = self.boxes[net.source]
                sheet.labels.append((number, self._out(net) + 6, box.y + box.h + 13))
        self._fit(sheet, ends[-1])
        return sheet

    def _box(self, vertex: int) -> Box:
        node = self.body.node(vertex)
        if node is None:
            return Box(0, 0, *pill(self.body, vertex, self.owner is None))
        if node.body is not None and node.opened:
            inside = lay(node.body, node)
            return Box(0, 0, inside.w, inside.h, inside)
        return Box(0, 0, *face(node))

    # ---------------------------------------------------------------- across

    def _anchor(self, vertex: int) -> float:
        """Where the straight line of its lane meets a box, from its left."""
        into = [
            target
            for net in self.order.nets
            for target in net.targets
            if target.vertex == vertex and target.slot == 0
        ]
        return self._in(into[0]) - self.boxes[vertex].x if into else self.boxes[vertex].w / 2

    def _in(self, target: Target) -> float:
        box = self.boxes[target.vertex]
        if box.inside is not None:
            port = box.inside.boxes[target.entry]
            return box.x + port.x + port.w / 2
        return box.x + box.w / 2 + target.slot * SLOT

    def _out(self, net: Net) -> float:
        box = self.boxes[net.source]
        if box.inside is not None:
            port = box.inside.boxes[net.exit]
            return box.x + port.x + port.w / 2
        return box.x + box.w / 2 + net.slot * OUT_SLOT

    def _columns(self) -> None:
        """Put the lanes beside each other, each as near to the spine as those before it allow."""
        left, right = [0.0] * self.depth, [0.0] * self.depth
        self.lane_x: list[float] = []
        for lane in self.order.lanes:
            near, far = (
                [0.0] * self.depth,
                [0.0] * self.depth,
            )  # how far the lane reaches to its left and right
            for vertex in lane.vertices:
                layer, box, anchor = (
                    self.order.layers[vertex],
                    self.boxes[vertex],
                    self._anchor(vertex),
                )
                near[layer], far[layer] = (
                    anchor,
                    max(box.w - anchor, self._label_reach(vertex) - anchor),
                )
            layers, gap = range(lane.first, lane.last + 1), BOX_GAP if lane.vertices else LINE_GAP
            x = 0.0
            if lane.side > 0:
                x = max(right[layer] + gap + near[layer] for layer in layers)
            elif lane.side < 0:
                x = min(left[layer] - gap - far[layer] for layer in layers)
            if not lane.vertices:
                x = self._straighten(len(self.lane_x), lane.side, x)
            for layer in layers:
                left[layer], right[layer] = (
                    min(left[layer], x - near[layer]),
                    max(right[layer], x + far[layer]),
                )
            for vertex in lane.vertices:
                self.boxes[vertex].x = x - self._anchor(vertex)
            self.lane_x.append(x)
        self.left, self.right = min(left), max(right)

    def _straighten(self, place: int, side: int, x: float) -> float:
        """Move a channel out to where its line begins or ends, if that stands further out: one bend
        less.
        """
        net = next(net for net in self.order.nets if net.lane == place)
        ends = [
            (net.source, lambda: self._out(net)),
            *((t.vertex, lambda t=t: self._in(t)) for t in net.targets),
        ]
        placed = [where() for vertex, where in ends if self.home[vertex] < place]
        return next((end for end in placed if (end - x) * side > 0), x)

    def _label_reach(self, vertex: int) -> float:
        reach = 0.0
        for net, shown in zip(self.order.nets, self.labelled, strict=True):
            if net.source == vertex and shown:
                reach = max(
                    reach, self._out(net) - self.boxes[vertex].x + 8 + label_width(net.shape)
                )
        return reach

    # ---------------------------------------------------------------- the gaps

    def _way(self, net: Net, target: Target, gap: int) -> tuple[float, float] | None:
        """The x at which an edge comes into a gap from above, and the x at which it leaves it
        below.
        """
        first, last = self.order.layers[net.source], self.order.layers[target.vertex]
        if not first <= gap < last:
            return None
        carrier = (
            self.lane_x[self.home[target.vertex]] if target.straight else self.lane_x[net.lane]
        )
        return (self._out(net) if gap == first else carrier), (
            self._in(target) if gap == last - 1 else carrier
        )

    def _rows(self, gap: int) -> dict[int, int]:
        """Net -> the row of its horizontal line in a gap. Where one ends over another's
        beginning, it runs above.
        """
        ways = {}
        for number, net in enumerate(self.order.nets):
            found = [
                way for target in net.targets if (way := self._way(net, target, gap)) is not None
            ]
            if any(abs(a - b) >= 0.5 for a, b in found):
                ways[number] = found
        rows: dict[int, int] = {}
        rest = sorted(
            ways,
            key=lambda number: (self.order.layers[self.order.nets[number].source] != gap, number),
        )
        while rest:
            free = [
                number
                for number in rest
                if not any(_above(ways[other], ways[number]) for other in rest if other != number)
            ]
            number = (free or rest)[0]
            rest.remove(number)
            low = [rows[other] + 1 for other in rows if _above(ways[other], ways[number])]
            row = max(low, default=0)
            while any(rows[other] == row and _overlap(ways[other], ways[number]) for other in rows):
                row += 1
            rows[number] = row
        return rows

    def _heights(self, rows: list[dict[int, int]]) -> tuple[list[float], list[float]]:
        """The y at which each layer begins and ends."""
        y = float(HEAD if self.owner is not None else PAD)
        tops, ends = [], []
        self.row_y: list[float] = []
        for layer in range(self.depth):
            tops.append(y)
            y += max(
                (
                    box.h
                    for vertex, box in enumerate(self.boxes)
                    if self.order.layers[vertex] == layer
                ),
                default=0,
            )
            ends.append(y)
            told = any(
                shown and self.order.layers[net.source] == layer
                for net, shown in zip(self.order.nets, self.labelled, strict=True)
            )
            y += (LABEL if told else 4) + ROW * (max(rows[layer].values(), default=-1) + 1) + TIP
            self.row_y.append(ends[-1] + (LABEL if told else 4) + 3)
        return tops, ends

    def _line(
        self, number: int, net: Net, target: Target, rows: list[dict[int, int]], ends: list[float]
    ) -> Line:
        source, end = self.boxes[net.source], self.boxes[target.vertex]
        points = [(self._out(net), source.y + source.h)]
        for gap in range(self.order.layers[net.source], self.order.layers[target.vertex]):
            a, b = self._way(net, target, gap) or (0.0, 0.0)
            if abs(a - b) >= 0.5:
                y = self.row_y[gap] + ROW * rows[gap][number]
                points += [(a, y), (b, y)]
        points.append((self._in(target), end.y))
        far = self.order.layers[target.vertex] > self.order.layers[net.source] + 1
        return Line(number, points, far and not target.straight, bool(end.h))

    def _fit(self, sheet: Sheet, bottom: float) -> None:
        """Move everything to the right of 0, and find the size of the whole."""
        xs = [x for line in sheet.lines for x, _ in line.points]
        left, right = min([self.left, *xs]), max([self.right, *xs])
        least = head(self.owner) if self.owner is not None else 0
        sheet.w = max(right - left + 2 * PAD, least)
        move = (sheet.w - (right - left)) / 2 - left
        for box in sheet.boxes:
            box.x += move
        for line in sheet.lines:
            line.points = [(x + move, y) for x, y in line.points]
        sheet.labels = [(number, x + move, y) for number, x, y in sheet.labels]
        open_below = self.owner is not None and any(
            not box.h for box in sheet.boxes[len(self.body.inputs) + len(self.body.nodes) :]
        )
        sheet.h = bottom + (0 if open_below else 10 if self.owner is not None else PAD)


def labelled(body: Body, net: Net, top: bool) -> bool:
    """Whether a line bears its shape: not where the line around the body bears it already."""
    if not net.shape or (not top and net.source < len(body.inputs)):
        return False
    first_output = len(body.inputs) + len(body.nodes)
    return top or any(target.vertex < first_output for target in net.targets)


def _above(upper: list[Point], lower: list[Point]) -> bool:
    """Whether a line begins in the column in which another ends: it must turn away before the other
    comes.
    """
    return any(abs(a - b) < NEAR for a, _ in upper for _, b in lower)


def _overlap(one: list[Point], other: list[Point]) -> bool:
    low = max(min(min(way) for way in one), min(min(way) for way in other))
    high = min(max(max(way) for way in one), max(max(way) for way in other))
    return low - NEAR < high
