"use strict";
/* What is chosen in the graph for an edit: nodes, or an edge. */
(() => {
  const NEAR = 6; // pixels from an edge that still count as on it
  let picked = [];
  let several = false;
  const stage = () => document.querySelector(".studio-graph");
  const find = (path) => stage()?.querySelector(`[data-node="${CSS.escape(path)}"]`);

  function paint() {
    for (const each of stage()?.querySelectorAll(".picked") || []) each.classList.remove("picked");
    for (const path of picked) find(path)?.classList.add("picked");
  }

  function tell(edge) {
    paint();
    emitEvent("studio-pick", picked, edge);
  }

  function pick(path, more) {
    if (!more) picked = [path];
    else if (picked.includes(path)) picked = picked.filter((each) => each !== path);
    else picked = [...picked, path];
    tell(null);
  }

  /* The edge below the pointer, which is thin. */
  function edgeAt(event) {
    for (const edge of stage().querySelectorAll("path[data-edge]")) {
      const box = edge.getBoundingClientRect();
      const x = event.clientX;
      const y = event.clientY;
      if (x < box.left - NEAR || x > box.right + NEAR) continue;
      if (y < box.top - NEAR || y > box.bottom + NEAR) continue;
      const back = edge.getScreenCTM().inverse();
      for (let off = -NEAR; off <= NEAR; off += 1) {
        for (const [dx, dy] of [[off, 0], [0, off]]) {
          const point = new DOMPoint(x + dx, y + dy).matrixTransform(back);
          if (edge.isPointInStroke(point)) return edge;
        }
      }
    }
    return null;
  }

  document.addEventListener("click", (event) => {
    if (!event.target.closest?.(".studio-graph")) return;
    const group = event.target.closest("[data-node]");
    if (!group?.querySelector(":scope > .box")) {
      const edge = edgeAt(event);
      if (edge) {
        event.stopImmediatePropagation();
        picked = [];
        tell(edge.dataset.edge.split(" "));
        edge.classList.add("picked");
        return;
      }
    }
    if (group) pick(group.dataset.node, several || event.shiftKey);
  }, true);
  document.addEventListener("keydown", (event) => {
    const group = event.target.closest?.(".studio-graph [data-node]");
    if (group && (event.key === "Enter" || event.key === " ")) {
      pick(group.dataset.node, several || event.shiftKey);
    }
  }, true);

  /* Another graph: what is gone is not chosen any more, and edges are others. */
  const repaint = new MutationObserver(() => {
    picked = picked.filter(find);
    tell(null);
  });
  function follow() {
    if (stage()) repaint.observe(stage(), { childList: true });
  }

  Object.assign(window.studio, { follow, pickSeveral: (value) => { several = value; }, pickOne: (path) => pick(path, false) });
})();
