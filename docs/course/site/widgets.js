/* The interactive parts of the lessons. Every number comes from window.COURSE, which
   docs/course/draw.py computes with the blocks of the project. */
"use strict";
(() => {
  const chinese = document.documentElement.lang.startsWith("zh");
  const say = (english, other) => (chinese ? other : english);

  function make(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  /* The state is in the address, so that a link shows what its sender saw. */
  function readState(names, defaults) {
    const given = new URLSearchParams(location.hash.slice(1));
    return names.map((name, place) => {
      const number = Number.parseInt(given.get(name), 10);
      return Number.isInteger(number) && number >= 0 ? number : defaults[place];
    });
  }

  function writeState(names, values) {
    const pairs = names.map((name, place) => `${name}=${values[place]}`);
    history.replaceState(null, "", `#${pairs.join("&")}`);
  }

  function makeChoice(label, count, now, change) {
    const select = make("select");
    for (let place = 0; place < count; place++) {
      select.append(make("option", { value: place, textContent: place + 1 }));
    }
    select.value = now;
    select.addEventListener("change", () => change(Number(select.value)));
    return make("label", {}, `${label} `, select);
  }

  /* Shifted windows ------------------------------------------------------------------------- */

  const STEPS = [
    say("1. Plain windows: a cell sees its window of 4x4, and never over a border.",
        "1. 普通窗口：格子只看得见自己的 4x4 窗口，越不过边界。"),
    say("2. The next layer moves the borders by 2. Nine pieces of four sizes result.",
        "2. 下一层把边界移动 2 格，切出大小不一的九块。"),
    say("3. Roll the grid up and left by 2: four whole windows again. But the last windows now hold pieces that are no neighbours.",
        "3. 整个网格向上、向左滚动 2 格：又是四个完整的窗口。但后面几个窗口里混进了原本不相邻的碎块。"),
    say("4. The mask: a cell sees only the cells of its own region.",
        "4. 加上掩码：格子只看得见自己所在区域的格子。"),
    say("5. Roll back: every result returns to its place.",
        "5. 滚动回去：每个结果回到原来的位置。"),
  ];

  function showWindows(root, data) {
    const { grid, window: side, shift } = data;
    const across = grid / side;
    const slots = new Map(); // cell -> its window, its number in it, its place after the roll
    data.cells.forEach((cells, block) => cells.forEach((cell, number) => {
      const row = Math.floor(block / across) * side + Math.floor(number / side);
      const column = (block % across) * side + (number % side);
      slots.set(cell, { block, number, place: row * grid + column, region: data.regions[row][column] });
    }));
    const rolled = new Map([...slots].map(([cell, slot]) => [slot.place, cell]));
    const plain = new Map();
    data.plain.forEach((cells, block) => cells.forEach((cell) => plain.set(cell, block)));
    const names = ["step", "cell"];
    let [step, chosen] = readState(names, [0, 27]);
    step = Math.min(step, STEPS.length - 1);
    chosen = Math.min(chosen, grid * grid - 1);

    const text = make("p", { className: "widget-text" });
    text.setAttribute("aria-live", "polite");
    const board = make("div", { className: "widget-board" });
    board.style.setProperty("--columns", grid);
    const buttons = Array.from({ length: grid * grid }, (_, place) => {
      const button = make("button", { type: "button" });
      button.addEventListener("click", () => { chosen = cellAt(place); change(); });
      board.append(button);
      return button;
    });
    const back = make("button", { type: "button", textContent: say("Back", "上一步") });
    const next = make("button", { type: "button", textContent: say("Next", "下一步") });
    back.addEventListener("click", () => { step -= 1; change(); });
    next.addEventListener("click", () => { step += 1; change(); });
    root.append(text, board, make("div", { className: "widget-controls" }, back, next));

    function change() {
      show();
      writeState(names, [step, chosen]);
    }
    const isRolled = () => step === 2 || step === 3;
    const cellAt = (place) => (isRolled() ? rolled.get(place) : place);
    function sees(cell) {
      if (step === 0) return plain.get(cell) === plain.get(chosen);
      const [own, other] = [slots.get(chosen), slots.get(cell)];
      if (own.block !== other.block) return false;
      return step === 2 || data.allowed[own.block][own.number][other.number] === 1;
    }
    function show() {
      text.textContent = STEPS[step];
      back.disabled = step === 0;
      next.disabled = step === STEPS.length - 1;
      const edge = step === 0 || isRolled() ? 0 : side - shift;
      buttons.forEach((button, place) => {
        const cell = cellAt(place);
        const [row, column] = [Math.floor(place / grid), place % grid];
        const group = step === 0 ? [1, 2, 4, 5][plain.get(cell)] : slots.get(cell).region;
        button.className = `widget-cell region-${group}`;
        button.classList.toggle("chosen", cell === chosen);
        button.classList.toggle("unseen", !sees(cell));
        button.classList.toggle("top", row > 0 && (row - edge) % side === 0);
        button.classList.toggle("left", column > 0 && (column - edge) % side === 0);
        button.textContent = step === 0 ? "" : group;
        button.setAttribute("aria-label", `${say("row", "行")} ${Math.floor(cell / grid) + 1}, ${say("column", "列")} ${(cell % grid) + 1}`
          + `, ${sees(cell) ? say("seen", "可见") : say("not seen", "不可见")}`);
      });
    }
    show();
  }

  /* Attention by hand ------------------------------------------------------------------------ */

  function showAttention(root, data) {
    const side = Math.round(Math.sqrt(data.layers[0][0].length - 1));
    const size = data.image.length / side;
    const names = ["layer", "head", "query"];
    let [layer, head, query] = readState(names, [0, 0, 6]);
    layer = Math.min(layer, data.layers.length - 1);
    head = Math.min(head, data.layers[0].length - 1);
    query = Math.min(query, side * side);
    const text = make("p", { className: "widget-text" });
    text.setAttribute("aria-live", "polite");
    const board = make("div", { className: "widget-board widget-patches" });
    board.style.setProperty("--columns", side);
    const buttons = Array.from({ length: side * side }, (_, patch) => {
      const pixels = make("span", { className: "widget-pixels" });
      pixels.style.setProperty("--columns", size);
      for (let place = 0; place < size * size; place++) {
        const row = Math.floor(patch / side) * size + Math.floor(place / size);
        const column = (patch % side) * size + (place % size);
        const pixel = make("i");
        const grey = Math.round(255 * (1 - data.image[row][column]));
        pixel.style.background = `rgb(${grey}, ${grey}, ${grey})`;
        pixels.append(pixel);
      }
      const share = make("b");
      const button = make("button", { type: "button", className: "widget-patch" }, pixels, share);
      const choose = () => { query = patch + 1; change(); };
      button.addEventListener("mouseenter", choose);
      button.addEventListener("focus", choose);
      button.addEventListener("click", choose);
      board.append(button);
      return button;
    });
    const token = make("button", { type: "button", textContent: say("class token", "类别词元") });
    token.addEventListener("click", () => { query = 0; change(); });
    const controls = make("div", { className: "widget-controls" },
      makeChoice(say("layer", "层"), data.layers.length, layer, (value) => { layer = value; change(); }),
      makeChoice(say("head", "头"), data.layers[0].length, head, (value) => { head = value; change(); }), token);
    root.append(controls, board, text);

    function change() {
      show();
      writeState(names, [layer, head, query]);
    }
    function show() {
      const weights = data.layers[layer][head][query];
      const most = Math.max(...weights);
      buttons.forEach((button, patch) => {
        const weight = weights[patch + 1];
        button.style.setProperty("--weight", weight / most);
        button.classList.toggle("chosen", patch + 1 === query);
        button.lastChild.textContent = `${Math.round(100 * weight)} %`;
        button.setAttribute("aria-label", `${say("patch", "图块")} ${patch + 1}: ${Math.round(100 * weight)} %`);
      });
      const name = query === 0 ? say("the class token", "类别词元") : `${say("patch", "图块")} ${query}`;
      text.textContent = `${say("query", "查询")}: ${name}. `
        + `${say("The weights sum to", "权重之和为")} ${weights.reduce((a, b) => a + b, 0).toFixed(2)}`
        + `${say("; the class token receives", "；其中类别词元得到")} ${Math.round(100 * weights[0])} %.`;
    }
    show();
  }

  /* Receptive fields ------------------------------------------------------------------------- */

  function showFields(root, data) {
    const names = ["layer", "row", "column"];
    let [layer, row, column] = readState(names, [1, 9, 12]);
    layer = Math.min(layer, data.layers.length - 1);
    const cells = () => data.layers[layer].cells;
    const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    drawing.setAttribute("viewBox", `0 0 ${data.size} ${data.size}`);
    drawing.setAttribute("class", "widget-field");
    drawing.setAttribute("aria-hidden", "true");
    function add(kind) {
      const rectangle = document.createElementNS(drawing.namespaceURI, "rect");
      rectangle.setAttribute("class", kind);
      drawing.append(rectangle);
      return rectangle;
    }
    const [paper, field, cell] = ["paper", "seen", "cell"].map(add);
    const text = make("p", { className: "widget-text" });
    text.setAttribute("aria-live", "polite");
    const slide = (label, change) => {
      const range = make("input", { type: "range", min: 0 });
      range.addEventListener("input", () => { change(Number(range.value)); show(true); });
      return [range, make("label", {}, `${label} `, range)];
    };
    const [rows, rowLabel] = slide(say("row", "行"), (value) => { row = value; });
    const [columns, columnLabel] = slide(say("column", "列"), (value) => { column = value; });
    const select = makeChoice(say("layer", "层"), data.layers.length, layer, (value) => {
      const before = cells().length;
      layer = value;
      [row, column] = [row, column].map((place) => Math.floor((place * cells().length) / before));
      show(true);
    });
    root.append(make("div", { className: "widget-controls" }, select, rowLabel, columnLabel), drawing, text);
    drawing.addEventListener("pointermove", (event) => {
      const box = drawing.getBoundingClientRect();
      row = Math.floor(((event.clientY - box.top) / box.height) * cells().length);
      column = Math.floor(((event.clientX - box.left) / box.width) * cells().length);
      show(true);
    });

    function place(rectangle, x, y, width, height) {
      Object.entries({ x, y, width, height }).forEach(([key, value]) => rectangle.setAttribute(key, value));
    }
    function show(changed) {
      const count = cells().length;
      [row, column] = [row, column].map((value) => Math.max(0, Math.min(value, count - 1)));
      [rows.max, columns.max] = [count - 1, count - 1];
      [rows.value, columns.value] = [row, column];
      const side = data.size / count;
      const [[top, bottom], [left, right]] = [cells()[row], cells()[column]];
      place(paper, 0, 0, data.size, data.size);
      place(field, left, top, right - left + 1, bottom - top + 1);
      place(cell, column * side, row * side, side, side);
      text.textContent = `${data.layers[layer].name}, ${count} x ${count}: `
        + say("this cell sees", "这个格子看得见")
        + ` ${bottom - top + 1} x ${right - left + 1} ${say("pixels.", "个像素。")}`;
      if (changed) writeState(names, [layer, row, column]);
    }
    show(false);
  }

  /* Names and keys for readers without a mouse, where the theme has none. */
  function nameRegions() {
    document.querySelector(".md-search")?.setAttribute("aria-label", say("search", "搜索"));
    document.querySelectorAll(".md-typeset pre > code").forEach((code) => {
      if (code.scrollWidth > code.clientWidth) code.tabIndex = 0;
    });
    document.querySelectorAll(".md-code__nav").forEach((nav, place) => {
      nav.setAttribute("aria-label", `${say("code", "代码")} ${place + 1}`);
    });
  }

  const KINDS = { windows: showWindows, attention: showAttention, fields: showFields };
  for (const root of document.querySelectorAll(".widget")) {
    KINDS[root.dataset.widget](root, window.COURSE[root.dataset.widget]);
  }
  window.addEventListener("load", () => setTimeout(nameRegions));
})();
