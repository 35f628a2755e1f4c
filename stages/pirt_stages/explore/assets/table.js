"use strict";
// The queries, sorted and filtered; rows are made as they come into sight.
pirt.columns = () => {
  const data = pirt.overview, parts = data.traits.find((trait) => trait.name === "parts");
  const columns = [
    { id: "key", title: "query", value: (query) => data.keys[query] },
    { id: "pid", title: "pid", value: (query) => data.pids[query] },
    { id: "camera", title: "camera", value: (query) => data.camids[query] },
    { id: "parts", title: "visible", value: (query) => parts.labels[parts.bins[query]] },
    { id: "matches", title: "matches", value: (query) => data.matches[query] },
  ];
  data.evaluations.forEach((one, number) => {
    columns.push({ id: `ap${number}`, title: "AP", of: number, value: (query) => data.precisions[number][query] });
    columns.push({ id: `first${number}`, title: "first match", of: number, value: (query) => data.firsts[number][query] });
  });
  if (data.evaluations.length > 1)
    columns.push({ id: "delta", title: "Δ AP", value: (query) => {
      const [first, last] = [data.precisions[0][query], data.precisions[data.evaluations.length - 1][query]];
      return first === null || last === null ? null : last - first;
    } });
  return columns;
};

pirt.chosen = (state) => {
  const data = pirt.overview, wanted = state.text.toLowerCase();
  const filters = [...state.filters].map(([name, place]) => [data.traits.find((trait) => trait.name === name).bins, place]);
  const rows = data.keys.map((_, query) => query).filter((query) =>
    filters.every(([bins, place]) => bins[query] === place) &&
    (!wanted || data.keys[query].toLowerCase().includes(wanted) || String(data.pids[query]) === wanted));
  const column = pirt.columns().find((one) => one.id === state.sort.id);
  const sign = state.sort.down ? -1 : 1;
  const values = rows.map((query) => [column.value(query), query]);
  // What is not known stands last in both directions.
  values.sort(([a, x], [b, y]) => (a === null ? (b === null ? x - y : 1) : b === null ? -1 : a < b ? -sign : a > b ? sign : x - y));
  return values.map(([, query]) => query);
};

pirt.chips = (state, redraw) => {
  const { el } = pirt;
  return el("div", { class: "chips" }, [...state.filters].map(([name, place]) => {
    const trait = pirt.overview.traits.find((one) => one.name === name);
    return el("button", { type: "button", class: "chip", onclick: () => { state.filters.delete(name); redraw(); } },
      `${trait.title}: ${trait.labels[place]} ✕`);
  }));
};

pirt.showQueries = (state, go) => {
  const { el, percent, signed } = pirt;
  const data = pirt.overview, columns = pirt.columns(), step = 100;
  const body = el("tbody", {}), summary = el("p", { class: "note", "aria-live": "polite" }), chips = el("div", {});
  const head = el("thead", {});
  let rows = [], shown = 0;

  // A narrow screen has room for one evaluation, the one in focus.
  const kind = (column) => `column-${column.id.replace(/\d+$/, "")}${column.of === undefined || column.of === state.evaluation ? "" : " beside"}`;
  const text = (column, value) => {
    if (value === null) return "–";
    if (column.id.startsWith("ap")) return percent(value);
    return column.id === "delta" ? signed(value) : String(value);
  };
  const line = (query) => {
    const node = el("tr", { tabindex: "-1", "data-query": query, onclick: () => go(`query=${query}`) },
      el("td", {}, el("img", { src: pirt.file("thumbnails", query), alt: `query ${data.keys[query]}`, loading: "lazy", class: "small" })),
      columns.map((column) => el("td", { class: kind(column) },
        column.id === "key" ? el("a", { href: `#query=${query}`, tabindex: "-1" }, data.keys[query]) : text(column, column.value(query)))));
    return node;
  };
  const more = () => {
    body.append(...rows.slice(shown, shown + step).map(line));
    shown = Math.min(rows.length, shown + step);
  };
  const mark = () => {
    body.querySelector(".current")?.classList.remove("current");
    while (shown <= state.row && shown < rows.length) more();
    const node = body.children[state.row];
    if (node) { node.classList.add("current"); node.scrollIntoView({ block: "nearest" }); }
  };
  const heading = (column) => {
    const sorted = state.sort.id === column.id;
    return el("th", { scope: "col", class: kind(column), "aria-sort": sorted ? (state.sort.down ? "descending" : "ascending") : null },
      el("button", { type: "button", "data-column": column.id, onclick: () => {
        state.sort = { id: column.id, down: sorted && !state.sort.down };
        draw();
      } }, column.of === undefined ? null : el("small", { class: `name colour-${column.of % 6}` }, data.evaluations[column.of].name),
      `${column.title}${sorted ? (state.sort.down ? " ▾" : " ▴") : ""}`));
  };
  const draw = () => {
    rows = state.rows = pirt.chosen(state);
    state.row = Math.max(0, Math.min(state.row, rows.length - 1));
    shown = 0;
    body.replaceChildren();
    more();
    const means = data.evaluations.map((one, number) => `${one.name} mAP ${percent(pirt.mean(rows.map((query) => data.precisions[number][query])))}`);
    summary.textContent = `${rows.length} of ${data.keys.length} queries; ${means.join(", ")}`;
    chips.replaceChildren(pirt.chips(state, draw));
    head.replaceChildren(el("tr", {}, el("th", { "aria-label": "picture" }), columns.map(heading)));
    mark();
  };
  state.redraw = draw;
  state.mark = mark;
  const find = el("input", { type: "search", id: "find", placeholder: "name or pid", "aria-label": "find a query by name or pid",
    oninput: (event) => { state.text = event.target.value; draw(); } });
  find.value = state.text;
  const end = el("div", { class: "end" });
  new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting) && shown < rows.length) more(); }).observe(end);
  draw();
  return el("div", { id: "queries" }, el("h1", {}, "Queries"), find, chips, summary,
    el("div", { class: "wide" }, el("table", { class: "queries" }, head, body)), end);
};
