// Sizes added up along the order, as in layout.py: the page does it again whenever a node is folded or unfolded.
"use strict";
const PAD = 16, BOX_GAP = 26, LINE_GAP = 14, ROW = 9, LABEL = 18, TIP = 14, SLOT = 20, OUT_SLOT = 60, NEAR = 7, HEAD = 30, RADIUS = 7;

function lay(body, owner) {
  const { layers, lanes, nets } = body.order;
  const depth = Math.max(0, ...layers) + 1;
  const boxes = body.vertices.map((v) => {
    const inside = v.body && v.open ? lay(v.body, v) : null;
    return { x: 0, y: 0, w: inside ? inside.w : v.w, h: inside ? inside.h : v.h, inside };
  });
  const home = [];
  lanes.forEach((lane, index) => lane.vertices.forEach((v) => { home[v] = index; }));
  const portX = (box, port) => box.x + box.inside.boxes[port].x + box.inside.boxes[port].w / 2;
  const inX = (t) => { const b = boxes[t.vertex]; return b.inside ? portX(b, t.entry) : b.x + b.w / 2 + t.slot * SLOT; };
  const outX = (n) => { const b = boxes[n.source]; return b.inside ? portX(b, n.exit) : b.x + b.w / 2 + n.slot * OUT_SLOT; };
  const anchor = (v) => {
    for (const net of nets) for (const t of net.targets) if (t.vertex === v && t.slot === 0) return inX(t) - boxes[v].x;
    return boxes[v].w / 2;
  };
  const reach = (v) => Math.max(0, ...nets.filter((n) => n.source === v && n.labelled).map((n) => outX(n) - boxes[v].x + 8 + n.width));

  // across: the lanes beside each other
  const left = Array(depth).fill(0), right = Array(depth).fill(0), laneX = [];
  lanes.forEach((lane, index) => {
    const near = Array(depth).fill(0), far = Array(depth).fill(0), here = [];
    for (const v of lane.vertices) {
      const a = anchor(v);
      near[layers[v]] = a;
      far[layers[v]] = Math.max(boxes[v].w - a, reach(v) - a);
    }
    for (let layer = lane.first; layer <= lane.last; layer++) here.push(layer);
    const gap = lane.vertices.length ? BOX_GAP : LINE_GAP;
    let x = 0;
    if (lane.side > 0) x = Math.max(...here.map((l) => right[l] + gap + near[l]));
    else if (lane.side < 0) x = Math.min(...here.map((l) => left[l] - gap - far[l]));
    if (!lane.vertices.length) {
      const net = nets.find((n) => n.lane === index);
      const ends = [[net.source, () => outX(net)], ...net.targets.map((t) => [t.vertex, () => inX(t)])];
      const placed = ends.filter(([v]) => home[v] < index).map(([, where]) => where());
      const further = placed.find((end) => (end - x) * lane.side > 0);
      if (further !== undefined) x = further;
    }
    for (const l of here) { left[l] = Math.min(left[l], x - near[l]); right[l] = Math.max(right[l], x + far[l]); }
    for (const v of lane.vertices) boxes[v].x = x - anchor(v);
    laneX.push(x);
  });

  // the gaps: a row for every horizontal line
  const way = (net, t, gap) => {
    const first = layers[net.source], last = layers[t.vertex];
    if (gap < first || gap >= last) return null;
    const carrier = t.straight ? laneX[home[t.vertex]] : laneX[net.lane];
    return [gap === first ? outX(net) : carrier, gap === last - 1 ? inX(t) : carrier];
  };
  const rows = layers.length ? Array.from({ length: depth }, (_, gap) => rowsOf(nets, layers, gap, way)) : [];

  // down: the layers below each other
  let y = owner ? HEAD : PAD;
  const tops = [], ends = [], rowY = [];
  for (let layer = 0; layer < depth; layer++) {
    tops.push(y);
    y += Math.max(0, ...boxes.filter((_, v) => layers[v] === layer).map((b) => b.h));
    ends.push(y);
    const label = nets.some((n) => n.labelled && layers[n.source] === layer) ? LABEL : 4;
    rowY.push(y + label + 3);
    y += label + ROW * (Math.max(-1, ...rows[layer].values()) + 1) + TIP;
  }
  boxes.forEach((box, v) => { box.y = tops[layers[v]]; });

  const sheet = { boxes, lines: [], labels: [] };
  nets.forEach((net, number) => {
    for (const t of net.targets) {
      const source = boxes[net.source], target = boxes[t.vertex], points = [[outX(net), source.y + source.h]];
      for (let gap = layers[net.source]; gap < layers[t.vertex]; gap++) {
        const [a, b] = way(net, t, gap);
        if (Math.abs(a - b) >= 0.5) { const at = rowY[gap] + ROW * rows[gap].get(number); points.push([a, at], [b, at]); }
      }
      points.push([inX(t), target.y]);
      sheet.lines.push({ net: number, points, skip: layers[t.vertex] > layers[net.source] + 1 && !t.straight, tip: target.h > 0 });
    }
    if (net.labelled) sheet.labels.push([number, outX(net) + 6, boxes[net.source].y + boxes[net.source].h + 13]);
  });

  // everything to the right of 0
  const xs = sheet.lines.flatMap((line) => line.points.map((p) => p[0]));
  const low = Math.min(...left, ...xs), high = Math.max(...right, ...xs);
  sheet.w = Math.max(high - low + 2 * PAD, owner ? owner.least : 0);
  const move = (sheet.w - (high - low)) / 2 - low;
  for (const box of boxes) box.x += move;
  for (const line of sheet.lines) line.points = line.points.map(([x, at]) => [x + move, at]);
  sheet.labels = sheet.labels.map(([n, x, at]) => [n, x + move, at]);
  const open = owner && boxes.slice(body.outputs).some((b) => !b.h);
  sheet.h = ends[ends.length - 1] + (open ? 0 : owner ? 10 : PAD);
  return sheet;
}

function rowsOf(nets, layers, gap, way) {
  const ways = new Map(), rows = new Map();
  nets.forEach((net, number) => {
    const found = net.targets.map((t) => way(net, t, gap)).filter((w) => w);
    if (found.some(([a, b]) => Math.abs(a - b) >= 0.5)) ways.set(number, found);
  });
  const above = (upper, lower) => upper.some(([a]) => lower.some(([, b]) => Math.abs(a - b) < NEAR));
  const low = (w) => Math.min(...w.flat()), high = (w) => Math.max(...w.flat());
  const overlap = (p, q) => Math.max(low(p), low(q)) - NEAR < Math.min(high(p), high(q));
  const late = (n) => Number(layers[nets[n].source] !== gap);
  let rest = [...ways.keys()].sort((a, b) => late(a) - late(b) || a - b);
  while (rest.length) {
    const free = rest.filter((n) => !rest.some((o) => o !== n && above(ways.get(o), ways.get(n))));
    const number = (free.length ? free : rest)[0];
    rest = rest.filter((n) => n !== number);
    let row = Math.max(0, ...[...rows].filter(([o]) => above(ways.get(o), ways.get(number))).map(([, r]) => r + 1));
    while ([...rows].some(([o, r]) => r === row && overlap(ways.get(o), ways.get(number)))) row++;
    rows.set(number, row);
  }
  return rows;
}

function curve(points) {
  const same = (a, b) => Math.abs(a[0] - b[0]) < 0.05, sign = (v) => (v > 0.05) - (v < -0.05);
  const clean = points.filter((p, i) => !i || i === points.length - 1 || !(same(points[i - 1], p) && same(p, points[i + 1])));
  let path = `M${clean[0][0]} ${clean[0][1]}`;
  for (let i = 1; i < clean.length - 1; i++) {
    const [[ax, ay], [x, y], [bx, by]] = clean.slice(i - 1, i + 2);
    const r = Math.min(RADIUS, (Math.abs(x - ax) + Math.abs(y - ay)) / 2, (Math.abs(bx - x) + Math.abs(by - y)) / 2);
    path += `L${x - r * sign(x - ax)} ${y - r * sign(y - ay)}Q${x} ${y} ${x + r * sign(bx - x)} ${y + r * sign(by - y)}`;
  }
  return path + `L${clean[clean.length - 1].join(" ")}`;
}
