// The page: describes one node, searches, walks the nodes by keyboard. The browser folds <details> by itself. Nothing is fetched.
"use strict";
const [stage, panel, search, found, canvas, theme] = ["stage", "panel", "search", "found", "canvas", "theme"].map((id) => document.getElementById(id));
const INFO = JSON.parse(document.getElementById("nodes").textContent);
const nodes = [...canvas.querySelectorAll("[data-id]")], bodies = [...canvas.querySelectorAll("details")];
let current = null, hits = [];

const infoOf = (node) => INFO[node.dataset.id];
const bodyOf = (node) => node.closest("summary") && node.parentElement;
const around = (node) => (bodyOf(node) || node).parentElement.closest("details");
const isShown = (node) => !(bodyOf(node) || node).parentElement.closest("details:not([open])");

// ---------------------------------------------------------------- one node

function describe(node) {
  const i = infoOf(node), rows = [["in", i.takes.join("; ")], ...i.gives, ["parameters", i.parameters], ["arguments", i.arguments.join("\n")],
    ["does", i.summary], ["formula", i.formula], ["source", i.source], ["left out", i.left_out], ["stands in", i.where]];
  const add = (parent, name, text, style) => { const made = document.createElement(name); made.textContent = text; made.className = style || ""; parent.append(made); return made; };
  panel.replaceChildren();
  add(panel, "h2", i.title);
  add(panel, "p", i.block, "block");
  const list = add(panel, "dl", "");
  for (const [key, value] of rows) if (value) { add(list, "dt", key); add(list, "dd", value); }
  if (i.share) add(add(panel, "div", "", "bar"), "i", "").style.width = `${100 * i.share}%`;
}

function mark() {
  for (const node of nodes) {
    node.classList.toggle("current", node === current);
    node.classList.toggle("hit", hits.includes(node));
  }
  for (const edge of canvas.querySelectorAll(".edge")) edge.classList.toggle("near", edge.dataset.ends.includes(`|${current.dataset.id}|`));
  canvas.classList.toggle("searching", hits.length > 0);
}

function choose(node, focus) {
  current = node;
  describe(node);
  if (focus) node.focus({ preventScroll: true });
  if (focus) reveal(node);
  mark();
}

function reveal(node) {
  for (let body = around(node); body; body = body.parentElement.closest("details")) body.open = true;
  node.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function foldAll(open) {
  for (const body of bodies) body.open = open;
  while (!isShown(current)) current = around(current).firstElementChild;
  choose(current, false);
  centre();
}

// Where the drawing is wider than the page, show the middle of its nodes.
function centre() {
  const boxes = nodes.filter(isShown).flatMap((node) => [...node.querySelectorAll("svg")]).map((svg) => svg.getBoundingClientRect()).filter((box) => box.width);
  const middle = (Math.min(...boxes.map((box) => box.left)) + Math.max(...boxes.map((box) => box.right))) / 2;
  stage.scrollLeft += middle - stage.getBoundingClientRect().left - stage.clientWidth / 2;
}

// ---------------------------------------------------------------- pointer, keyboard, search

function chooseAt(event) {
  const node = event.target.closest("[data-id]");
  if (node && (event.type === "focusin" || !search.value)) choose(node, false);
}
canvas.addEventListener("pointerover", chooseAt);
canvas.addEventListener("focusin", chooseAt);

const KEYS = {
  ArrowDown: (list, at) => choose(list[Math.min(at + 1, list.length - 1)], true),
  ArrowUp: (list, at) => choose(list[Math.max(at - 1, 0)], true),
  Home: (list) => choose(list[0], true),
  End: (list) => choose(list[list.length - 1], true),
  ArrowRight: (list, at) => { const body = bodyOf(current); if (body && body.open) KEYS.ArrowDown(list, at); else if (body) body.open = true; },
  ArrowLeft: () => { const body = bodyOf(current), outer = around(current); if (body && body.open) body.open = false; else if (outer) choose(outer.firstElementChild, true); },
};
document.addEventListener("keydown", (event) => {
  const searching = document.activeElement === search, { key } = event;
  if (key === "/" && !searching) { search.focus(); search.select(); }
  else if (key === "Escape") { search.value = ""; find(); choose(current, true); }
  else if (searching && (key === "Enter" || key === "ArrowDown")) showNext(key === "ArrowDown");
  else if (KEYS[key] && canvas.contains(document.activeElement) && !event.altKey && !event.ctrlKey && !event.metaKey) {
    const list = nodes.filter(isShown);
    KEYS[key](list, list.indexOf(current));
  } else return;
  event.preventDefault();
});

function find() {
  const words = search.value.trim().toLowerCase(), text = ({ title, block, arguments: given }) => `${title} ${block} ${given.join(" ")}`.toLowerCase();
  hits = words ? nodes.filter((node) => text(infoOf(node)).includes(words)) : [];
  found.textContent = words ? `${hits.length} found` : "";
  for (const node of [...hits].reverse()) reveal(node);
  choose(hits[0] || current, false);
}

function showNext(focus) {
  if (!hits.length) return;
  choose(hits[(hits.indexOf(current) + (focus ? 0 : 1)) % hits.length], focus);
  reveal(current);
}
search.addEventListener("input", find);
document.getElementById("unfold-all").addEventListener("click", () => foldAll(true));
document.getElementById("fold-all").addEventListener("click", () => foldAll(false));

const THEMES = ["auto", "light", "dark"];
function paint(name) {
  if (name === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
  theme.textContent = name;
  theme.setAttribute("aria-label", `colours: ${name}`);
}
theme.addEventListener("click", () => {
  paint(THEMES[(THEMES.indexOf(theme.textContent) + 1) % 3]);
  try { localStorage.setItem("dougong-theme", theme.textContent); } catch { /* a file may have no storage */ }
});
let kept = null;
try { kept = localStorage.getItem("dougong-theme"); } catch { /* as above */ }
const hash = location.hash.slice(1);
paint([hash, kept].find((name) => THEMES.includes(name)) || "auto");
choose(nodes[0], false);
if (hash.startsWith("unfold")) foldAll(true);
else if (hash.startsWith("fold")) foldAll(false);
else centre();
if (hash.endsWith("-dark")) paint("dark");
