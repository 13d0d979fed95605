"use strict";
/* What a network sees: where each head looks, from the token or the place that is pointed at; a
   field to draw in; numbers on the nodes of the graph. */
window.studioLook = (() => {
  const HEAT = [217, 95, 2];
  const SIDE = 56;
  let data = null;
  let weights = null;
  let query = 0;
  let heat = [];

  const make = (name, style, parent, text) => {
    const made = document.createElement(name);
    made.className = style;
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  };
  const place = () => document.querySelector(".studio-look");

  function show(next) {
    const root = place();
    if (!root) return;
    data = next;
    root.replaceChildren();
    showPrediction(root);
    const layer = data.attention;
    if (!layer) return;
    weights = Uint8Array.from(atob(layer.weights), (letter) => letter.charCodeAt(0));
    query = Math.min(query, layer.queries - 1);
    showPicker(root);
    const heads = make("div", "studio-heads", root);
    for (let head = 0; head < layer.heads; head++) showHead(heads, head);
    point(query);
  }

  function showPrediction(root) {
    const list = make("ol", "studio-prediction", root);
    for (const [name, chance] of data.prediction) {
      const row = make("li", name === data.truth ? "studio-right-one" : "", list);
      make("span", "", row, name);
      make("i", "", row).style.width = `${100 * chance}px`;
      make("span", "studio-soft", row, `${(100 * chance).toFixed(1)} %`);
    }
  }

  /* Where one points: the image in cells, or the tokens. */
  function showPicker(root) {
    const { grid, extra, queries, keys } = data.attention;
    make("div", "studio-soft", root, data.words.point);
    const picker = make("div", "studio-picker", root);
    picker.tabIndex = 0;
    picker.setAttribute("role", "slider");
    picker.setAttribute("aria-label", data.words.query);
    picker.setAttribute("aria-valuemin", 0);
    picker.setAttribute("aria-valuemax", queries - 1);
    picker.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid ? grid[1] : 1, ArrowUp: grid ? -grid[1] : -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      point(Math.min(queries - 1, Math.max(0, query + step)));
    });
    if (data.tokens) return showTokens(picker, data.tokens.slice(0, queries), true);
    if (grid && queries === keys) {
      for (let token = 0; token < extra; token++) {
        const chip = make("span", "studio-token", picker, `[${token}]`);
        chip.title = data.words.extra;
        chip.addEventListener("pointerenter", () => point(token));
      }
      const field = showImage(picker);
      field.addEventListener("pointermove", (event) => {
        const box = field.getBoundingClientRect();
        const row = Math.floor(((event.clientY - box.top) / box.height) * grid[0]);
        const column = Math.floor(((event.clientX - box.left) / box.width) * grid[1]);
        if (row >= 0 && row < grid[0] && column >= 0 && column < grid[1]) point(extra + row * grid[1] + column);
      });
      return;
    }
    for (let token = 0; token < queries; token++) {
      make("span", "studio-token", picker, `[${token}]`).addEventListener("pointerenter", () => point(token));
    }
  }

  function showTokens(parent, tokens, pointing) {
    tokens.forEach((name, token) => {
      const chip = make("span", "studio-token", parent, name);
      if (pointing) chip.addEventListener("pointerenter", () => point(token));
    });
  }

  function showImage(parent) {
    const field = make("div", "studio-seen", parent);
    if (data.image) make("img", "", field).src = data.image;
    field.querySelector("img")?.setAttribute("alt", "");
    const sheet = make("canvas", "", field);
    [sheet.height, sheet.width] = data.attention.grid;
    return field;
  }

  function showHead(parent, head) {
    const figure = make("figure", "studio-head", parent);
    if (data.attention.grid) showImage(figure);
    else if (data.tokens && data.tokens.length >= data.attention.keys) showTokens(figure, data.tokens.slice(0, data.attention.keys), false);
    else for (let key = 0; key < data.attention.keys; key++) make("span", "studio-token", figure, `${key}`);
    make("figcaption", "studio-soft", figure, `${data.words.head} ${head}`);
  }

  /* The weights of one query in all heads. */
  function point(next) {
    const { queries, keys, heads, grid, extra, most } = data.attention;
    query = next;
    const root = place();
    const picker = root.querySelector(".studio-picker");
    picker.setAttribute("aria-valuenow", query);
    picker.setAttribute("aria-valuetext", data.tokens?.[query] ?? `${query}`);
    picker.querySelectorAll(".studio-token").forEach((chip, token) => chip.classList.toggle("chosen", token === query));
    const field = picker.querySelector("canvas");
    if (field) paint(field, (cell) => (cell + extra === query ? 1 : 0), [11, 99, 206]);
    root.querySelectorAll(".studio-head").forEach((figure, head) => {
      const start = (head * queries + query) * keys;
      const sheet = figure.querySelector("canvas");
      if (sheet) paint(sheet, (cell) => weights[start + extra + cell] / 255, HEAT);
      else
        figure.querySelectorAll(".studio-token").forEach((chip, key) => {
          chip.style.background = `rgba(${HEAT}, ${weights[start + key] / 255})`;
        });
      figure.querySelector("figcaption").textContent = `${data.words.head} ${head}: ${data.words.most} ${(100 * most[head][query]).toFixed(0)} %`;
    });
  }

  function paint(sheet, share, colour) {
    const context = sheet.getContext("2d");
    const image = context.createImageData(sheet.width, sheet.height);
    for (let cell = 0; cell < sheet.width * sheet.height; cell++) {
      image.data.set([...colour, Math.round(200 * share(cell))], 4 * cell);
    }
    context.putImageData(image, 0, 0);
  }

  /* A field to draw in, white on black; each stroke is sent. */
  function draw() {
    const sheet = document.querySelector(".studio-draw");
    if (!sheet || sheet.dataset.ready) return;
    sheet.dataset.ready = "yes";
    sheet.width = sheet.height = SIDE;
    const context = sheet.getContext("2d", { willReadFrequently: true });
    const clear = () => { context.fillStyle = "#000"; context.fillRect(0, 0, SIDE, SIDE); };
    clear();
    sheet.addEventListener("clear", clear);
    let last = null;
    const at = (event) => {
      const box = sheet.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
    };
    sheet.addEventListener("pointerdown", (event) => { last = at(event); sheet.setPointerCapture(event.pointerId); });
    sheet.addEventListener("pointermove", (event) => {
      if (!last) return;
      context.strokeStyle = "#fff";
      context.lineWidth = 7;
      context.lineCap = "round";
      context.beginPath();
      context.moveTo(...last);
      last = at(event);
      context.lineTo(...last);
      context.stroke();
    });
    sheet.addEventListener("pointerup", () => {
      last = null;
      const pixels = context.getImageData(0, 0, SIDE, SIDE).data;
      const rows = [];
      for (let row = 0; row < SIDE; row++) {
        rows.push(Array.from({ length: SIDE }, (_, column) => pixels[4 * (row * SIDE + column)]));
      }
      emitEvent("studio-drawn", rows);
    });
  }

  /* Numbers on the nodes of the graph, from 0 (pale) to 1. */
  function setHeat(next) {
    heat = next;
    paintHeat();
  }

  function paintHeat() {
    const stage = document.querySelector(".studio-graph");
    if (!stage) return;
    for (const each of stage.querySelectorAll(".studio-heat")) each.remove();
    const groups = new Map();
    for (const [path, share, label] of heat) {
      const group = nearest(stage, path);
      if (group) groups.set(group, [...(groups.get(group) || []), [share, label]]);
    }
    for (const [group, values] of groups) {
      const box = group.querySelector(":scope > .box:last-of-type, :scope > .shell:last-of-type") || group.querySelector("rect");
      const all = [...group.children].filter((each) => each.matches(".box, .shell"));
      const frame = all[all.length - 1] || box;
      const cover = frame.cloneNode(false);
      cover.setAttribute("class", "studio-heat");
      const full = frame.matches(".shell") ? 0.22 : 0.55;
      cover.style.fillOpacity = Math.max(...values.map(([share]) => share)) * full;
      frame.after(cover);
      const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
      const labels = values.map(([, label]) => label);
      text.textContent = labels.length > 1 ? `${labels[0]} … ${labels[labels.length - 1]}` : labels[0];
      text.setAttribute("class", "studio-heat soft");
      text.setAttribute("x", Number(frame.getAttribute("width")) - 8);
      text.setAttribute("y", -3);
      text.setAttribute("text-anchor", "end");
      text.setAttribute("font-size", "9.5");
      group.append(text);
    }
  }

  function nearest(stage, path) {
    for (let name = path; name; name = name.replace(/\.?[^.]*$/, "")) {
      for (const each of [name, name.replace(/\.\d+(?=\.|$)/g, ".0")]) {
        const group = stage.querySelector(`[data-node="${CSS.escape(each)}"]`);
        if (group) return group;
      }
    }
    return null;
  }

  return { show, draw, setHeat, paintHeat, clear: () => document.querySelector(".studio-draw")?.dispatchEvent(new Event("clear")) };
})();
