"use strict";
// One run is one thing: lit in every picture and in the table at once. Ranges of axes leave runs out; headings sort.
const all = (choice, from = document) => [...from.querySelectorAll(choice)];
const runs = JSON.parse(document.getElementById("runs").textContent);
const bodies = all("table.runs tbody");

function light(run) {
  for (const element of all("[data-run]")) {
    const same = element.dataset.run === run;
    element.classList.toggle("lit", run !== null && same);
    element.classList.toggle("dim", run !== null && !same);
  }
  if (run !== null) all(`svg [data-run="${run}"]`).forEach(line => line.parentNode.append(line));
}
for (const element of all("[data-run]")) {
  element.addEventListener("pointerenter", () => light(element.dataset.run));
  element.addEventListener("pointerleave", () => light(null));
  element.addEventListener("focus", () => light(element.dataset.run));
  element.addEventListener("blur", () => light(null));
}

function sort(heading) {
  const place = [...heading.parentNode.children].indexOf(heading);
  const up = heading.getAttribute("aria-sort") !== "ascending";
  all("th[aria-sort]").forEach(other => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.children[place].dataset.value ?? row.children[place].textContent;
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");  // what is missing stands last, whichever the order
    const [x, y] = [Number(a), Number(b)];
    const order = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
    return up ? order : -order;
  };
  for (const body of bodies) [...body.children].sort((a, b) => compare(key(a), key(b))).forEach(row => body.append(row));
}
all("th button").forEach(button => button.addEventListener("click", () => sort(button.parentNode)));

const ranges = new Map();  // axis -> [top, bottom] in the units of the picture

function filter() {
  const axes = all(".brush");
  for (const line of all(".run-line[data-run]", document.querySelector(".axis")?.closest("svg") ?? document.head)) {
    const points = line.getAttribute("points").split(" ").map(point => Number(point.split(",")[1]));
    const inside = axes.every((axis, number) => {
      const range = ranges.get(axis);
      return !range || (points[number] >= range[0] && points[number] <= range[1]);
    });
    for (const each of all(`[data-run="${line.dataset.run}"]`)) each.classList.toggle("out", !inside);
  }
  const shown = all("table.runs tbody tr:not(.out)").length;
  const left = document.getElementById("left");
  left.textContent = ranges.size ? `${shown} of ${runs.length} runs; a click on an axis shows all again` : "";
}

for (const axis of all(".brush")) {
  let start = null;
  let mark = null;
  const height = event => {
    const box = axis.getBoundingClientRect();
    const scale = Number(axis.getAttribute("height")) / box.height;
    return Number(axis.getAttribute("y")) + (event.clientY - box.top) * scale;
  };
  const drop = () => { mark?.remove(); mark = null; ranges.delete(axis); };
  axis.addEventListener("pointerdown", event => {
    drop();
    start = height(event);
    axis.setPointerCapture(event.pointerId);
    mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    mark.setAttribute("class", "range");
    for (const side of ["x", "width"]) mark.setAttribute(side, axis.getAttribute(side));
    axis.parentNode.append(mark);
  });
  axis.addEventListener("pointermove", event => {
    if (start === null) return;
    const range = [start, height(event)].sort((a, b) => a - b);
    mark.setAttribute("y", range[0]);
    mark.setAttribute("height", range[1] - range[0]);
    ranges.set(axis, range);
    filter();
  });
  axis.addEventListener("pointerup", event => {
    if (Math.abs(height(event) - start) < 3) drop();  // a click, not a range
    start = null;
    filter();
  });
}
document.addEventListener("keydown", event => {
  if (event.key !== "Escape") return;
  ranges.clear();
  all(".range").forEach(mark => mark.remove());
  light(null);
  filter();
});
