"use strict";
/* Completion and explanations in the editor that the page has; the server knows what fits. */
(() => {
  const waiting = new Map();
  let number = 0;

  /* Offsets count characters on the server, and units of UTF-16 here. */
  const length = (text) => [...text].length;

  function ask(kind, state, at) {
    const text = state.doc.toString();
    const offset = length(text.slice(0, at));
    number += 1;
    const promise = new Promise((resolve) => waiting.set(number, resolve));
    emitEvent("studio-ask", number, kind, text, offset);
    const own = number;
    setTimeout(() => answer(own, {}), 20000);
    return promise.then((found) => {
      if (found.from === undefined) return null;
      return { ...found, from: at - (offset - found.from), to: at - (offset - found.to) };
    });
  }

  function answer(which, found) {
    waiting.get(which)?.(found);
    waiting.delete(which);
  }

  async function complete(context) {
    const word = context.matchBefore(/[\w.]*/);
    const line = context.state.doc.lineAt(context.pos);
    const before = line.text.slice(0, word.from - line.from);
    const begins = /[:{[,-] ?$/.test(before);
    if (!context.explicit && word.from === word.to && !begins) return null;
    const found = await ask("complete", context.state, context.pos);
    if (!found || context.aborted || !found.options.length) return null;
    return {
      from: found.from,
      to: Math.max(found.to, context.pos),
      validFor: /^[\w.]*$/,
      options: found.options.map((each) => ({
        label: each.label,
        type: each.kind,
        detail: each.detail.length > 64 ? each.detail.slice(0, 63) + "…" : each.detail,
        info: each.detail || undefined,
        apply: each.apply,
      })),
    };
  }

  function box(parts) {
    const dom = document.createElement("div");
    dom.className = "studio-hover";
    for (const [style, text] of parts) {
      const part = document.createElement("div");
      part.className = style;
      part.textContent = text;
      dom.append(part);
    }
    return dom;
  }

  async function explain(view, at) {
    const place = view.domAtPos(at).node;
    const wrong = (place.nodeType === 3 ? place.parentElement : place).closest("[data-problem]");
    const parts = wrong ? [["studio-problem", wrong.dataset.problem]] : [];
    const found = await ask("explain", view.state, at);
    if (found) parts.push(["studio-name", found.title], ["", found.text]);
    if (!parts.length) return null;
    const from = found ? found.from : at;
    return { pos: from, end: found ? found.to : at, above: true, create: () => ({ dom: box(parts) }) };
  }

  async function extend() {
    const view = studio.editor();
    if (!view) setTimeout(extend, 50); // it is not mounted yet
    if (!view || view.assisted) return;
    view.assisted = true;
    const CM = await import("nicegui-codemirror");
    view.dispatch({
      effects: CM.StateEffect.appendConfig.of([
        CM.EditorState.languageData.of(() => [{ autocomplete: complete }]),
        CM.hoverTooltip(explain, { hoverTime: 400 }),
      ]),
    });
  }

  Object.assign(window.studio, { answer, extend });
})();
