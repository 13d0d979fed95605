"use strict";
/* The graph of the page: shows it, lights nodes, and tells the server which one was chosen. */
window.studio = (() => {
  const READABLE = 0.5; // of the size, below which a large graph is drawn without text
  const LARGE = 300; // nodes
  let lines = [];
  let scale = 1;
  let last = 0;
  let isFirst = true;
  let lit = {};
  let codeLines = [];
  let before = null;
  let chosen = "";
  const stage = () => document.querySelector(".studio-graph");
  const find = (path) => stage()?.querySelector(`[data-node="${CSS.escape(path)}"]`);
  const component = () => {
    const element = document.querySelector(".studio-editor");
    return element && getElement(Number(element.id.slice(1)));
  };
  const editor = () => component()?.editor;

  function show(svg, nextLines) {
    const place = stage();
    if (!place) return;
    const left = place.scrollLeft;
    const top = place.scrollTop;
    place.innerHTML = svg;
    lines = nextLines;
    const fresh = before && listPaths().find((path) => !before.has(path));
    before = null;
    if (isFirst) fit();
    else zoom(scale);
    place.scrollTo(left, top);
    find(chosen)?.classList.add("chosen");
    nameEditors();
    lightKinds(place, lit);
    studioLook.paintHeat();
    light();
    if (fresh) {
      studio.pickOne(fresh);
      choose(fresh, false);
    }
    if (isFirst) recall();
    isFirst = false;
    requestAnimationFrame(() => {
      window.studioPainted = (window.studioPainted || 0) + 1;
      window.studioPaintedAt = performance.now();
      setTimeout(() => emitEvent("studio-painted"));
    });
  }

  /* NiceGUI sets the theme with every update, whereupon the style of each element is computed. */
  function keepTheme() {
    const set = window.setDark;
    let theme;
    window.setDark = (next) => {
      if (next !== theme) set?.(next);
      theme = next;
    };
  }

  const listPaths = () => [...stage().querySelectorAll("[data-node]")].map((each) => each.dataset.node);
  const chooseNext = () => { before = new Set(listPaths()); };

  /* The editors have no label of their own. */
  function nameEditors(tries = 1) {
    for (const each of document.querySelectorAll("[data-name] .cm-content"))
      each.setAttribute("aria-label", each.closest("[data-name]").dataset.name);
    for (const each of document.querySelectorAll("[data-name] .cm-content[contenteditable=false]")) each.tabIndex = 0;
    if (tries > 1) setTimeout(() => nameEditors(tries - 1), 250);  // one is mounted late
  }

  function zoom(next) {
    scale = Math.min(4, Math.max(0.2, next));
    const svg = stage()?.querySelector("svg");
    if (!svg) return;
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    svg.setAttribute("width", width * scale);
    svg.setAttribute("height", height * scale);
    const isLarge = svg.querySelectorAll("[data-node]").length > LARGE;
    stage().classList.toggle("studio-far", isLarge && scale < READABLE);
  }

  function fit() {
    const svg = stage()?.querySelector("svg");
    if (!svg) return;
    const width = Number(svg.getAttribute("viewBox").split(" ")[2]);
    zoom(Math.min(1, (stage().clientWidth - 24) / width));
  }

  function choose(path, fromEditor, fromCode) {
    for (const each of stage().querySelectorAll(".chosen")) each.classList.remove("chosen");
    const group = find(path);
    if (!group) return;
    group.classList.add("chosen");
    chosen = path;
    if (fromEditor) {
      reveal(group);
      studio.pickOne(path);
    } else select(lineOf(path));
    if (fromCode) reveal(group);
    showCode(path);
    emitEvent("studio-node", path, fromEditor || Boolean(fromCode) || Boolean(reader()?.editor?.dom.offsetParent));
  }

  /* Scroll the graph alone: the page stays where it is, which is long in a narrow window. */
  function reveal(group) {
    const place = stage();
    const frame = place.getBoundingClientRect();
    const box = group.getBoundingClientRect();
    const off = (from, to, least, most) => (to > most ? Math.min(to - most, from - least) : Math.min(0, from - least));
    place.scrollTop += off(box.top, box.bottom, frame.top, frame.bottom);
    place.scrollLeft += off(box.left, box.right, frame.left, frame.right);
  }

  /* What was unfolded below the edge comes into view, and the keyboard scrolls it. */
  function bring(id) {
    const fold = document.getElementById(`c${id}`);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    fold?.querySelector("pre")?.focus({ preventScroll: true });
    fold?.scrollIntoView({ block: "nearest", behavior: still ? "instant" : "smooth" });
  }

  /* The line of a node, or of the nearest node around it that is written in this file. */
  function lineOf(path) {
    for (let name = path; name; name = name.replace(/\.?[^.]*$/, "")) {
      const found = lines.find(([, paths]) => paths.includes(name));
      if (found) return found[0];
    }
    return 0;
  }

  /* The node that the cursor stands on. */
  function light() {
    const view = editor();
    if (!view || !view.hasFocus) return;
    const line = view.state.doc.lineAt(view.state.selection.main.head).number;
    if (line === last) return;
    last = line;
    let found = null;
    for (const [from, paths] of lines) if (from <= line) found = [from, paths];
    if (found && line - found[0] < 2) choose(found[1][0], true);
  }

  function select(line) {
    const view = editor();
    if (!view || line < 1 || line > view.state.doc.lines) return;
    const at = view.state.doc.line(line);
    last = line;
    view.dispatch({ selection: { anchor: at.from }, scrollIntoView: true });
  }

  /* What differs: kinds by path in this graph and in the other one, which is shown beside it. */
  const KINDS = ["added", "removed", "replaced", "moved", "changed"];
  function compare(svg, old, fresh) {
    const other = document.querySelector(".studio-other");
    if (!other) return;
    const wasShown = other.matches(".studio-shown");
    other.innerHTML = svg;
    other.classList.toggle("studio-shown", Boolean(svg));
    const drawing = other.querySelector("svg");
    if (drawing) resize(drawing, Math.min(1, (other.clientWidth - 24) / box(drawing)[0]));
    lit = fresh;
    lightKinds(other, old);
    lightKinds(stage(), fresh);
    if (svg || wasShown) fit();
  }

  function lightKinds(place, kinds) {
    for (const kind of KINDS)
      for (const each of place?.querySelectorAll(`.${kind}`) || []) each.classList.remove(kind);
    for (const [path, kind] of Object.entries(kinds)) nearest(place, path)?.classList.add(kind);
  }

  /* The node of a path, or the folded node around it. */
  function nearest(place, path) {
    for (let name = path; name; name = name.replace(/\.?[^.]*$/, "")) {
      const group = place?.querySelector(`[data-node="${CSS.escape(name)}"]`);
      if (group) return group;
    }
    return null;
  }

  const box = (svg) => svg.getAttribute("viewBox").split(" ").slice(2).map(Number);
  function resize(svg, factor) {
    const [width, height] = box(svg);
    svg.setAttribute("width", width * factor);
    svg.setAttribute("height", height * factor);
  }

  /* The code: lines that belong to nodes. */
  const reader = () => {
    const element = document.querySelector(".studio-emit");
    return element && getElement(Number(element.id.slice(1)));
  };
  function code(next) {
    codeLines = next;
    nameEditors(20);
    paintReader(20);
    const chosen = stage()?.querySelector(".chosen");
    if (chosen) setTimeout(() => showCode(chosen.dataset.node), 200);
  }

  /* As dark as the page, which may follow the system. */
  function paintReader(tries) {
    if (reader()?.editor) reader().setTheme(document.body.matches(".body--dark") ? "githubDark" : "vscodeLight");
    else if (tries) setTimeout(() => paintReader(tries - 1), 100);  // it is mounted late
  }

  function showCode(path) {
    const view = reader()?.editor;
    if (!view) return;
    for (let name = path; name; name = name.replace(/\.?[^.]*$/, "")) {
      const found = codeLines.filter(([, paths]) => paths.includes(name)).map(([line]) => line);
      if (!found.length) continue;
      const marks = found.map((line) => ({ kind: "line", line, class: "studio-here" }));
      reader().setDecorations(marks);
      const at = view.coordsAtPos(view.state.doc.line(found[0]).from);
      const top = view.lineBlockAt(view.state.doc.line(found[0]).from).top;
      if (at === null || at) view.scrollDOM.scrollTop = Math.max(0, top - 80);
      return;
    }
  }

  document.addEventListener("click", (event) => {
    const line = event.target.closest?.(".studio-emit .cm-line");
    const view = reader()?.editor;
    if (!line || !view) return;
    const number = view.state.doc.lineAt(view.posAtDOM(line)).number;
    const found = codeLines.find(([at]) => at === number);
    const group = found && nearest(stage(), found[1][0]);
    if (group) choose(group.dataset.node, false, true);
  });

  /* The address: what is shown, and a text that a link brought. */
  function keep(state) {
    const address = new URL(location.href);
    for (const name of ["model", "data", "tab", "levels"]) {
      if (state[name]) address.searchParams.set(name, state[name]);
      else address.searchParams.delete(name);
    }
    history.replaceState(history.state, "", address);
  }

  /* What was chosen and seen when the page was left: the page in another language shows the same. */
  const SCROLLED = [".studio-graph", ".studio-editor .cm-scroller", ".studio-panels .q-panel"];
  const modelOf = () => new URLSearchParams(location.search).get("model") || "";
  function remember() {
    if (!stage() || isFirst) return;
    const scrolls = SCROLLED.map((name) => document.querySelector(name)).map((each) => [each?.scrollLeft || 0, each?.scrollTop || 0]);
    const cursor = editor()?.state.selection.main.head || 0;
    const seen = { model: modelOf(), node: find(chosen) ? chosen : "", cursor, scale, scrolls, top: scrollY };
    sessionStorage.setItem("studio", JSON.stringify(seen));
  }

  function recall() {
    const seen = JSON.parse(sessionStorage.getItem("studio") || "{}");
    sessionStorage.removeItem("studio");
    if (!seen.model || seen.model !== modelOf()) return;
    zoom(seen.scale);
    const view = editor();
    if (view && seen.cursor <= view.state.doc.length) view.dispatch({ selection: { anchor: seen.cursor } });
    if (find(seen.node)) {
      chosen = seen.node;
      find(chosen).classList.add("chosen");
      studio.pickOne(chosen);
      emitEvent("studio-node", chosen, true);
    }
    let tries = 12; // the panels are filled later
    const stop = () => { tries = 0; };
    for (const kind of ["wheel", "keydown", "pointerdown"]) addEventListener(kind, stop, { once: true, capture: true });
    const scroll = () => {
      if (tries <= 0) return;
      tries -= 1;
      SCROLLED.forEach((name, index) => document.querySelector(name)?.scrollTo(...seen.scrolls[index]));
      scrollTo(0, seen.top);
      setTimeout(scroll, 250);
    };
    scroll();
  }
  addEventListener("pagehide", remember);

  function takeLink() {
    const text = new URLSearchParams(location.hash.slice(1)).get("text") || "";
    if (text) history.replaceState(history.state, "", location.pathname + location.search);
    return text;
  }

  const copyLink = (path) => navigator.clipboard.writeText(location.origin + path);

  function savePng(svg, name) {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = 2 * image.width;
      canvas.height = 2 * image.height;
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      const link = document.createElement("a");
      link.download = name;
      link.href = canvas.toDataURL("image/png");
      link.click();
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  }

  /* The nodes that a mistake is in, and those that depend on them. */
  function blame(wrong, behind) {
    const place = stage();
    for (const each of place.querySelectorAll(".wrong, .behind")) each.classList.remove("wrong", "behind");
    for (const path of wrong) find(path)?.classList.add("wrong");
    for (const path of behind) find(path)?.classList.add("behind");
    place.classList.toggle("studio-placed", wrong.length > 0);
  }

  /* Straight to the component: an update from the server would carry an older text with it. */
  const mark = (marks) => component()?.setDecorations(marks);
  const paint = (theme) => component()?.setTheme(theme);

  document.addEventListener("selectionchange", light);
  document.addEventListener("click", (event) => {
    const group = event.target.closest?.(".studio-graph [data-node]");
    if (group) choose(group.dataset.node, false);
  });
  document.addEventListener("keydown", (event) => {
    const group = event.target.closest?.(".studio-graph [data-node]");
    if (group && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      choose(group.dataset.node, false);
    }
  });
  /* Enter takes what was typed in a choice: the option of this name, or the first. */
  document.addEventListener("keydown", (event) => {
    const typed = event.target.closest?.(".q-select input[type=search]")?.value;
    if (event.key !== "Enter" || !typed || document.querySelector(".q-menu .q-manual-focusable--focused")) return;
    const options = [...document.querySelectorAll(".q-menu [role=option]")];
    const found = options.find((each) => each.innerText.trim() === typed) || options[0];
    if (!found) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    found.click();
  }, true);
  document.addEventListener("wheel", (event) => {
    if (!event.ctrlKey || !event.target.closest?.(".studio-graph")) return;
    event.preventDefault();
    zoom(scale * (event.deltaY < 0 ? 1.1 : 0.9));
  }, { passive: false });
  return { editor, blame, bring, chooseNext, keep, keepTheme, takeLink, copyLink, savePng, show, choose, select, compare, code, mark, paint, fit, zoom: (factor) => zoom(scale * factor) };
})();
