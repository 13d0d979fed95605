// The list: searches by all words that are typed, and orders. The address keeps the search. Nothing is fetched.
"use strict";
const [list, search, order, found] = ["models", "search", "order", "found"].map((id) => document.getElementById(id));
const WORDS = JSON.parse(document.getElementById("words").textContent);
const models = [...list.children];

function find() {
  const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const model of models) {
    model.hidden = !wanted.every((word) => WORDS[model.dataset.name].includes(word));
    count += !model.hidden;
  }
  found.textContent = wanted.length ? `${count} / ${models.length}` : models.length;
  try { history.replaceState(null, "", wanted.length ? `#${encodeURIComponent(search.value)}` : location.pathname); } catch { /* a file from a disk has no history */ }
}

function sort() {
  const size = (model) => Number(model.dataset.size);
  const by = { name: (a, b) => a.dataset.name.localeCompare(b.dataset.name), size: (a, b) => size(a) - size(b) };
  list.replaceChildren(...models.sort(by[order.value]));
}

search.addEventListener("input", find);
order.addEventListener("change", sort);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
  if (event.key === "Escape") { search.value = ""; find(); }
});
if (navigator.language.startsWith("zh")) {
  document.documentElement.lang = "zh";
  for (const each of document.querySelectorAll("[data-zh]")) each.textContent = each.dataset.zh;
}
search.value = decodeURIComponent(location.hash.slice(1));
find();
