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
      text.textContent = `${say("query: ", "查询：")}${name}${say(". ", "。")}`
        + `${say("The weights sum to", "权重之和为")} ${weights.reduce((a, b) => a + b, 0).toFixed(2)}`
        + `${say("; the class token receives", "；其中类别词元得到")} ${Math.round(100 * weights[0])} %${say(".", "。")}`;
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

  /* Causal mask ------------------------------------------------------------------------------ */

  function addText(root) {
    const text = make("p", { className: "widget-text" });
    text.setAttribute("aria-live", "polite");
    root.append(text);
    return text;
  }

  function showMask(root, data) {
    const names = ["head", "place", "hidden"];
    let [head, place, hidden] = readState(names, [0, 1, 1]);
    head = Math.min(head, data.masked.length - 1);
    place = Math.min(place, data.tokens.length - 1);
    const separator = Math.max(...data.tokens);
    const box = make("input", { type: "checkbox", checked: hidden === 1 });
    box.addEventListener("change", () => { hidden = box.checked ? 1 : 0; change(); });
    const chart = make("div", { className: "widget-bars" });
    const buttons = data.tokens.map((token, number) => {
      const name = token === separator ? "|" : token;
      const button = make("button", { type: "button" }, make("i"), make("b", { textContent: name }));
      const choose = () => { place = number; change(); };
      button.addEventListener("focus", choose);
      button.addEventListener("click", choose);
      chart.append(button);
      return button;
    });
    root.append(make("div", { className: "widget-controls" },
      makeChoice(say("head", "头"), data.masked.length, head, (value) => { head = value; change(); }),
      make("label", {}, box, ` ${say("causal mask", "因果掩码")}`)), chart);
    const text = addText(root);

    function change() {
      show();
      writeState(names, [head, place, hidden]);
    }
    function show() {
      const weights = data[hidden ? "masked" : "unmasked"][head][place];
      buttons.forEach((button, number) => {
        const share = Math.round(100 * weights[number]);
        const seen = !hidden || number <= place;
        button.style.setProperty("--share", weights[number]);
        button.classList.toggle("chosen", number === place);
        button.classList.toggle("unseen", !seen);
        button.setAttribute("aria-label", `${say("place", "位置")} ${number + 1}, ${say("token", "词元")} ${data.tokens[number]}: `
          + (seen ? `${share} %` : say("hidden", "看不见")));
      });
      const later = weights.slice(place + 1).reduce((a, b) => a + b, 0);
      const seen = hidden ? place + 1 : weights.length;
      text.textContent = say(
        `Place ${place + 1} of ${weights.length} sees ${seen}; ${Math.round(100 * later)} % of its weight is on later tokens, which it is to predict.`,
        `共 ${weights.length} 个位置，第 ${place + 1} 个看得见 ${seen} 个；它有 ${Math.round(100 * later)} % 的权重落在后面的词元上，而那正是要预测的。`);
    }
    show();
  }

  /* Temperature of softmax ------------------------------------------------------------------- */

  function showSoftmax(root, data) {
    const names = ["temperature"];
    let [step] = readState(names, [9]);
    step = Math.min(step, data.temperatures.length - 1);
    const range = make("input", { type: "range", min: 0, max: data.temperatures.length - 1, value: step });
    range.addEventListener("input", () => { step = Number(range.value); show(); writeState(names, [step]); });
    const list = make("ul", { className: "widget-shares" });
    const rows = data.answers.map((answer, place) => {
      const share = make("span");
      const row = make("li", {}, make("b", { textContent: answer }), make("i"), share);
      row.title = `${say("score", "分数")} ${data.scores[place]}`;
      list.append(row);
      return [row, share];
    });
    root.append(make("p", { textContent: `${data.question}?` }), list,
      make("div", { className: "widget-controls" }, make("label", {}, `${say("temperature", "温度")} T `, range)));
    const text = addText(root);

    function show() {
      const temperature = data.temperatures[step].toFixed(1);
      range.setAttribute("aria-valuetext", temperature);
      rows.forEach(([row, share], place) => {
        row.style.setProperty("--share", data.shares[step][place]);
        share.textContent = `${(100 * data.shares[step][place]).toFixed(1)} %`;
      });
      text.textContent = say(
        `T = ${temperature}: the first answer has ${(100 * data.shares[step][0]).toFixed(0)} %, and ${data.bits[step].toFixed(1)} bits are open.`,
        `T = ${temperature}：第一个答案占 ${(100 * data.shares[step][0]).toFixed(0)} %，还有 ${data.bits[step].toFixed(1)} 比特没有定。`);
    }
    show();
  }

  /* Positions -------------------------------------------------------------------------------- */

  const POSITIONS = [
    ["sinusoidal", say("sines: cosine of two positions", "正弦：两个位置的余弦")],
    ["rotary", say("rotary: product of two equal words", "旋转：两个相同的词的内积")],
    ["alibi", say("ALiBi: added to the score", "ALiBi：加到分数上的数")],
  ];

  function showPositions(root, data) {
    const names = ["kind", "position"];
    let [kind, position] = readState(names, [0, 8]);
    kind = Math.min(kind, POSITIONS.length - 1);
    const count = data.sinusoidal.length;
    position = Math.min(position, count - 1);
    const select = make("select");
    POSITIONS.forEach(([, label], place) => select.append(make("option", { value: place, textContent: label })));
    select.value = kind;
    select.setAttribute("aria-label", say("kind of position", "位置编码的种类"));
    select.addEventListener("change", () => { kind = Number(select.value); change(); });
    const range = make("input", { type: "range", min: 0, max: count - 1, value: position });
    range.addEventListener("input", () => { position = Number(range.value); change(); });
    const chart = make("div", { className: "widget-bars widget-signed" });
    chart.setAttribute("aria-hidden", "true");
    const bars = Array.from({ length: count }, () => make("span", {}, make("i")));
    chart.append(...bars);
    root.append(make("div", { className: "widget-controls" }, select,
      make("label", {}, `${say("position", "位置")} `, range)), chart);
    const text = addText(root);

    function change() {
      show();
      writeState(names, [kind, position]);
    }
    function show() {
      const rows = data[POSITIONS[kind][0]];
      const most = Math.max(...rows.flat().map(Math.abs));
      bars.forEach((bar, place) => {
        const value = rows[position][place];
        bar.style.setProperty("--share", Math.abs(value) / most);
        bar.classList.toggle("negative", value < 0);
        bar.classList.toggle("chosen", place === position);
      });
      const far = position < count / 2 ? count - 1 : 0;
      const near = position < count - 1 ? position + 1 : position - 1;
      const at = (place) => `${place}${say(": ", "：")}${rows[position][place].toFixed(2)}`;
      text.textContent = `${say("position", "位置")} ${position} ${say("with", "与")} ${[position, near, far].map(at).join(say(", ", "，"))}${say(".", "。")}`;
    }
    show();
  }

  /* Names and keys for readers without a mouse, where the theme has none. */
  function nameRegions() {
    document.querySelector(".md-search")?.setAttribute("aria-label", say("search", "搜索"));
    document.querySelectorAll(".md-typeset pre > code, .md-typeset__scrollwrap").forEach((part) => {
      if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    });
    document.querySelectorAll("th:empty").forEach((head) => head.replaceWith(make("td")));
    document.querySelectorAll(".md-code__nav").forEach((nav, place) => {
      nav.setAttribute("aria-label", `${say("code", "代码")} ${place + 1}`);
    });
  }

  /* The switch of language leads to the same page where the other language has it. */
  function linkLanguages() {
    const settings = document.getElementById("__config");
    if (!settings) return;
    const own = new URL(`${JSON.parse(settings.textContent).base}/`, location.href);
    const english = chinese ? new URL("../", own) : own;
    const page = location.href.split("#")[0].slice(own.href.length) || "index.html";
    const name = (language) => {
      const plans = { en: "docs/course/index.html", zh: "docs/course/README.zh.html" };
      if (Object.values(plans).includes(page)) return plans[language];
      return page.replace(/^docs\/course\/(en|zh)\//, `docs/course/${language}/`);
    };
    document.querySelectorAll(".md-content a[href]").forEach((link) => {
      if (!link.href.startsWith(own.href)) return; // pages of the other language lie in its site
      const target = link.href.slice(own.href.length);
      if (!chinese && /^docs\/course\/(README\.zh|zh\/)/.test(target)) link.href = new URL(target, new URL("zh/", own)).href;
      if (chinese && /^docs\/course\/(index|en\/)/.test(target)) link.href = new URL(target, english).href;
    });
    document.querySelectorAll("a[hreflang]").forEach((link) => {
      const language = link.getAttribute("hreflang");
      if (language !== "en" && language !== "zh") return;
      link.href = new URL(name(language), language === "zh" ? new URL("zh/", english) : english).href;
    });
  }

  const KINDS = {
    windows: showWindows, attention: showAttention, fields: showFields,
    mask: showMask, softmax: showSoftmax, positions: showPositions,
  };
  for (const root of document.querySelectorAll(".widget")) {
    KINDS[root.dataset.widget](root, window.COURSE[root.dataset.widget]);
  }
  window.addEventListener("load", () => setTimeout(() => { nameRegions(); linkLanguages(); }));
})();
