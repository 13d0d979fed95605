// The page: draws the tree of nodes, folds and unfolds, tells about one node, searches. Nothing is fetched.
"use strict";
const MODEL = JSON.parse(document.getElementById("model").textContent);
const stage = document.getElementById("stage"), panel = document.getElementById("panel"), search = document.getElementById("search");
const found = document.getElementById("found"), canvas = document.getElementById("canvas");
const byId = new Map();
let current = null, hits = [];

(function index(body, parent, level) {
  for (const v of body.vertices) if (v.id) { v.parent = parent; v.level = level; byId.set(v.id, v); if (v.body) index(v.body, v, level + 1); }
})(MODEL.body, null, 1);

const SVG = "http://www.w3.org/2000/svg";
function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (parent) parent.append(made);
  return made;
}

function draw() {
  const sheet = lay(MODEL.body, null);
  canvas.replaceChildren();
  for (const [key, value] of Object.entries({ viewBox: `0 0 ${sheet.w} ${sheet.h}`, width: sheet.w, height: sheet.h })) canvas.setAttribute(key, value);
  drawBody(MODEL.body, sheet, canvas);
  mark();
}

function drawBody(body, sheet, parent) {
  body.vertices.forEach((v, index) => {
    const box = sheet.boxes[index];
    if (!v.id) { if (v.h) element("g", { class: "io", transform: `translate(${box.x} ${box.y})`, "aria-hidden": "true" }, parent).innerHTML = v.face; return; }
    const g = element("g", { class: `node ${v.kind}`, transform: `translate(${box.x} ${box.y})`, role: "treeitem", tabindex: v === current ? 0 : -1,
      "data-id": v.id, "aria-level": v.level, "aria-label": v.label }, parent);
    v.element = g;
    if (v.body) g.setAttribute("aria-expanded", String(v.open));
    if (!box.inside) { g.innerHTML = v.face; return; }
    const frames = v.times > 1 ? [2, 1, 0] : [0];
    g.innerHTML = frames.map((i) => `<rect class="shell" x="${4 * i}" y="${-4 * i}" width="${box.w}" height="${box.h}" rx="10"/>`).join("")
      + `<rect class="grip" width="${box.w}" height="28" rx="10"/>` + v.head + `<g transform="translate(${box.w} 0)">${v.tail}</g>`;
    drawBody(v.body, box.inside, element("g", { role: "group" }, g));
  });
  for (const line of [...sheet.lines].sort((a, b) => b.skip - a.skip)) drawLine(body, line, parent);
  for (const [net, x, y] of sheet.labels) element("text", { x, y, "font-size": 10, class: "soft", "aria-hidden": "true" }, parent).textContent = body.order.nets[net].shape;
}

function drawLine(body, line, parent) {
  const net = body.order.nets[line.net], kind = line.skip ? " skip" : "", [x, y] = line.points[line.points.length - 1];
  const points = [...line.points.slice(0, -1), [x, line.tip ? y - 4 : y]];
  const ends = [net.source, ...net.targets.map((t) => t.vertex)].map((v) => body.vertices[v].id || "");
  element("path", { class: `edge${kind}${net.shape ? "" : " maybe"}`, d: curve(points), "data-ends": `|${ends.join("|")}|`, "aria-hidden": "true" }, parent);
  if (line.tip) element("path", { class: `tip${kind}`, d: `M${x} ${y}l-3.6 -6.5h7.2z`, "aria-hidden": "true" }, parent);
}

// ---------------------------------------------------------------- one node

function tell(v) {
  const i = v.info, rows = [["in", i.takes.join("; ")], ...i.gives, ["parameters", i.parameters], ["arguments", i.arguments.join("\n")],
    ["does", i.summary], ["formula", i.formula], ["source", i.source], ["left out", i.left_out], ["stands in", i.where]];
  panel.replaceChildren();
  const add = (name, words, cls) => { const e = document.createElement(name); e.textContent = words; if (cls) e.className = cls; panel.append(e); return e; };
  add("h2", i.title);
  add("p", i.block, "block");
  const list = add("dl", "");
  for (const [key, value] of rows) if (value) { const dt = document.createElement("dt"), dd = document.createElement("dd"); dt.textContent = key; dd.textContent = value; list.append(dt, dd); }
  if (i.share) { const bar = add("div", "", `bar ${v.kind}`), fill = document.createElement("i"); fill.style.width = `${100 * i.share}%`; bar.append(fill); }
}

function mark() {
  for (const v of byId.values()) {
    if (!v.element || !v.element.isConnected) continue;
    v.element.setAttribute("tabindex", v === current ? 0 : -1);
    v.element.setAttribute("aria-selected", String(v === current));
    v.element.classList.toggle("current", v === current);
    v.element.classList.toggle("hit", hits.includes(v));
  }
  for (const edge of canvas.querySelectorAll(".edge")) edge.classList.toggle("near", !!current && edge.dataset.ends.includes(`|${current.id}|`));
  canvas.classList.toggle("searching", hits.length > 0);
}

function choose(v, focus) {
  current = v;
  if (v) tell(v);
  mark();
  if (v && focus && v.element) { v.element.focus({ preventScroll: true }); reveal(v.element); }
}

function reveal(target) {
  const box = target.querySelector("rect").getBoundingClientRect(), view = stage.getBoundingClientRect();
  if (box.top < view.top + 20) stage.scrollTop -= view.top + 60 - box.top;
  else if (Math.min(box.bottom, box.top + 60) > view.bottom - 20) stage.scrollTop += Math.min(box.bottom, box.top + 60) - view.bottom + 60;
}

function fold(v, open) {
  if (!v.body || v.open === open) return;
  const before = v.element && v.element.isConnected ? v.element.getBoundingClientRect() : null;
  v.open = open;
  draw();
  if (before) { const after = v.element.getBoundingClientRect(); stage.scrollTop += after.top - before.top; stage.scrollLeft += after.left - before.left; }
}

const everything = (open) => { for (const v of byId.values()) if (v.body) v.open = open; current = visible(current); draw(); };
const visible = (v) => { let seen = v; for (let up = v && v.parent; up; up = up.parent) if (!up.open) seen = up; return seen; };
const shown = () => [...canvas.querySelectorAll("[data-id]")].map((e) => byId.get(e.dataset.id));

// ---------------------------------------------------------------- pointer, keyboard, search

canvas.addEventListener("click", (event) => {
  const g = event.target.closest("[data-id]");
  if (!g) return;
  const v = byId.get(g.dataset.id);
  choose(v, false);
  fold(v, !v.open);
  choose(v, true);
});
canvas.addEventListener("pointerover", (event) => { const g = event.target.closest("[data-id]"); if (g && !search.value) choose(byId.get(g.dataset.id), false); });
canvas.addEventListener("focusin", (event) => { const g = event.target.closest("[data-id]"); if (g) choose(byId.get(g.dataset.id), false); });

const KEYS = {
  ArrowDown: (v, list) => choose(list[Math.min(list.indexOf(v) + 1, list.length - 1)], true),
  ArrowUp: (v, list) => choose(list[Math.max(list.indexOf(v) - 1, 0)], true),
  Home: (v, list) => choose(list[0], true),
  End: (v, list) => choose(list[list.length - 1], true),
  ArrowRight: (v) => { if (v.body && !v.open) { fold(v, true); choose(v, true); } else if (v.body) choose(v.body.vertices.find((c) => c.id), true); },
  ArrowLeft: (v) => { if (v.body && v.open) { fold(v, false); choose(v, true); } else if (v.parent) choose(v.parent, true); },
  Enter: (v) => { fold(v, !v.open); choose(v, true); },
  " ": (v) => KEYS.Enter(v),
};
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); search.select(); return; }
  if (event.key === "Escape") { search.value = ""; look(); if (current) choose(current, true); return; }
  if (document.activeElement === search && (event.key === "Enter" || event.key === "ArrowDown")) { event.preventDefault(); next(event.key === "ArrowDown"); return; }
  if (event.altKey || event.ctrlKey || event.metaKey || !canvas.contains(document.activeElement) || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key](current || byId.values().next().value, shown());
});

function look() {
  const words = search.value.trim().toLowerCase();
  hits = words ? [...byId.values()].filter((v) => `${v.info.title} ${v.info.block} ${v.info.arguments.join(" ")}`.toLowerCase().includes(words)) : [];
  found.textContent = words ? `${hits.length} found` : "";
  for (const v of hits) for (let up = v.parent; up; up = up.parent) up.open = true;
  draw();
  if (hits.length) { choose(hits[0], false); reveal(hits[0].element); }
}
function next(enter) {
  if (!hits.length) return;
  choose(hits[(hits.indexOf(current) + (enter ? 0 : 1)) % hits.length], enter);
  if (!enter) reveal(current.element);
}
search.addEventListener("input", look);
document.getElementById("unfold-all").addEventListener("click", () => everything(true));
document.getElementById("fold-all").addEventListener("click", () => everything(false));

const theme = document.getElementById("theme"), THEMES = ["auto", "light", "dark"];
function paint(name) {
  if (name === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
  theme.textContent = name;
  theme.setAttribute("aria-label", `colours: ${name}`);
}
theme.addEventListener("click", () => { const name = THEMES[(THEMES.indexOf(theme.textContent) + 1) % 3]; paint(name); try { localStorage.setItem("dougong-theme", name); } catch { /* a file may have no storage */ } });
let kept = null;
try { kept = localStorage.getItem("dougong-theme"); } catch { /* as above */ }
const hash = location.hash.slice(1);
paint(THEMES.includes(hash) ? hash : kept && THEMES.includes(kept) ? kept : "auto");

current = byId.values().next().value || null;
draw();
if (current) tell(current);
if (hash.startsWith("unfold")) everything(true);
if (hash.startsWith("fold")) everything(false);
if (hash.endsWith("-dark")) paint("dark");
if (hash === "selftest") selftest();

// ---------------------------------------------------------------- what a test asks of the page (#selftest)

function selftest() {
  const wrong = [], say = (ok, words) => { if (!ok) wrong.push(words); };
  const origin = canvas.getBoundingClientRect();
  for (const [id, [x, y, w, h]] of Object.entries(MODEL.check)) {
    const at = byId.get(id).element.getBoundingClientRect(), box = byId.get(id).element.getCTM();
    say(Math.abs(box.e - x) < 0.6 && Math.abs(box.f - y) < 0.6, `${id} stands at ${box.e},${box.f}, not at ${x},${y}`);
    say(at.width > 0 && w > 0 && h > 0 && origin.width > 0, `${id} has no size`);
  }
  const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const tree = () => JSON.stringify(shown().map((v) => v.id));
  everything(true);
  say(shown().length === byId.size, `${shown().length} of ${byId.size} nodes unfolded`);
  choose(shown()[0], true);
  const seen = new Set([current.id]);
  for (let i = 0; i < byId.size; i++) { press("ArrowDown"); seen.add(current.id); }
  say(seen.size === byId.size, `arrows reach ${seen.size} of ${byId.size} nodes`);
  for (const v of [...byId.values()].filter((one) => one.body)) {
    everything(true);
    choose(v, true);
    const before = tree();
    press("Enter");
    say(!v.open && tree() !== before && v.element.getAttribute("aria-expanded") === "false", `Enter does not fold ${v.id}`);
    press("ArrowRight");
    say(v.open && tree() === before, `the right arrow does not unfold ${v.id}`);
    press("ArrowLeft");
    say(!v.open && document.activeElement === v.element, `the left arrow does not fold ${v.id}`);
  }
  press("/");
  say(document.activeElement === search, "/ does not reach the search");
  const last = [...byId.values()].pop();
  search.value = last.name;
  look();
  say(hits.includes(last) && last.element.isConnected, `the search does not find ${last.id}`);
  press("Escape");
  say(!search.value && !hits.length, "Escape does not end the search");
  document.body.dataset.selftest = wrong.length ? wrong.join("; ") : `ok ${byId.size}`;
}
