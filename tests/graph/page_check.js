// What test_draw.py asks of a page. BOXES: id -> x, y, width and height of the unfolded node.
"use strict";
const wrong = [];
const check = (holds, message) => { if (!holds) wrong.push(message); };
const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const idsShown = () => nodes.filter(isShown).map((node) => node.dataset.id).join();

// Every arrow ends at the top of a node or a name, every line begins at the bottom of one.
function checkLines(state) {
  const boxes = [...canvas.querySelectorAll(".face, .head, .io, .frame")].map((svg) => svg.getBoundingClientRect()).filter((box) => box.width);
  const meets = (x, y) => boxes.some((box) => box.left < x && x < box.right && Math.abs(box.top - y) < 1);
  for (const gap of canvas.querySelectorAll(".gap")) {
    const at = gap.getBoundingClientRect();
    if (!at.width) continue;
    for (const tip of gap.querySelectorAll(".tip")) {
      const [, x, y] = tip.getAttribute("d").match(/^M([\d.]+) ([\d.]+)/).map(Number);
      check(meets(at.left + x, at.top + y), `${state}: an arrow ends at nothing at ${x},${at.top + y}`);
    }
  }
}

foldAll(true);
const origin = canvas.firstElementChild.getBoundingClientRect();
for (const [id, [x, y, w, h]] of Object.entries(BOXES)) {
  const node = nodes.find((one) => one.dataset.id === id), at = (bodyOf(node) || node).getBoundingClientRect();
  const off = [at.left - origin.left - x, at.top - origin.top - y, at.width - w, at.height - h];
  check(off.every((distance) => Math.abs(distance) < 0.6), `${id} is off by ${off}`);
}
check(nodes.every(isShown), "not every node is unfolded");
checkLines("unfolded");

choose(nodes[0], true);
const seen = new Set([current]);
for (const _ of nodes) { press("ArrowDown"); seen.add(current); }
check(seen.size === nodes.length, `arrows reach ${seen.size} of ${nodes.length} nodes`);
for (const node of nodes.filter(bodyOf)) {
  foldAll(true);
  choose(node, true);
  const before = idsShown(), id = node.dataset.id, height = node.parentElement.offsetHeight;
  node.click();
  check(!bodyOf(node).open && idsShown() !== before && node.parentElement.offsetHeight < height, `a click does not fold ${id}`);
  checkLines(`${id} folded`);
  press("ArrowRight");
  check(bodyOf(node).open && idsShown() === before && node.parentElement.offsetHeight === height, `the right arrow does not unfold ${id}`);
  press("ArrowLeft");
  check(!bodyOf(node).open && document.activeElement === node, `the left arrow does not fold ${id}`);
}
foldAll(false);
checkLines("folded");
check(bodies.every((body) => !body.open), "not every node is folded");
press("/");
check(document.activeElement === search, "/ does not reach the search");
const last = nodes[nodes.length - 1];
search.value = infoOf(last).title;
find();
check(hits.includes(last) && isShown(last), `the search does not find ${last.dataset.id}`);
press("Escape");
check(!search.value && !hits.length, "Escape does not end the search");
document.body.dataset.check = wrong.length ? wrong.join("; ") : `ok ${nodes.length}`;
