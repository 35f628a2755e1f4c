"use strict";
// Which view is shown, and the keys.
(async () => {
  const main = document.getElementById("main"), help = document.getElementById("help");
  try {
    pirt.overview = await pirt.load("overview");
  } catch (error) {
    main.textContent = error.message;
    return;
  }
  const last = pirt.overview.evaluations.length - 1;
  const state = { filters: new Map(), text: "", sort: { id: `ap${last}`, down: false }, evaluation: last, row: 0, rows: [],
    heat: true, order: "ranked", query: 0, pair: -1, redraw: () => {}, mark: () => {} };
  let view = "";

  const go = (where) => {
    if (where === null || `#${where}` === location.hash) show();
    else location.hash = where;
  };
  const show = async () => {
    const asked = location.hash.slice(1) || "overview", number = Number(asked.split("=")[1]);
    const before = view;
    view = asked.startsWith("query=") && pirt.overview.keys[number] !== undefined ? "query" : asked === "queries" ? "queries" : "overview";
    const fresh = before !== view || (view === "query" && state.query !== number);
    if (view === "query") {
      if (state.query !== number) state.pair = -1;
      state.query = number;
      if (!state.rows.length) state.rows = pirt.chosen(state);
      state.row = Math.max(0, state.rows.indexOf(number));
    }
    const shown = { overview: pirt.showOverview, queries: pirt.showQueries, query: pirt.showQuery }[view];
    if (view === "overview") state.redraw = () => show();
    try {
      const content = await shown(state, go);
      // Another view may have been asked for while this one's data were read.
      if ((location.hash.slice(1) || "overview") !== asked) return;
      main.replaceChildren(content);
    } catch (error) {
      main.textContent = error.message;
    }
    for (const name of ["overview", "queries"]) document.getElementById(`to-${name}`).toggleAttribute("aria-current", view === name);
    for (const button of document.querySelectorAll(".evaluation")) button.setAttribute("aria-pressed", String(Number(button.dataset.number) === state.evaluation));
    if (fresh) window.scrollTo(0, 0);
    if (view === "queries") state.mark();
    document.body.dataset.view = view;
  };

  const focus = (number) => {
    state.evaluation = number;
    if (/^(ap|first)\d+$/.test(state.sort.id)) state.sort.id = state.sort.id.replace(/\d+$/, number);
    state.rows = pirt.chosen(state);
    show();
  };
  const move = (by) => {
    const row = Math.max(0, Math.min(state.rows.length - 1, state.row + by));
    if (row === state.row || !state.rows.length) return;
    state.row = row;
    if (view === "query") go(`query=${state.rows[row]}`);
    else state.mark();
  };
  const orders = ["ranked", "even", "global"];
  const keys = {
    o: () => go("overview"),
    q: () => go("queries"),
    j: () => view !== "overview" && move(1),
    k: () => view !== "overview" && move(-1),
    e: () => focus((state.evaluation + 1) % pirt.overview.evaluations.length),
    h: () => { state.heat = !state.heat; if (view === "query") show(); },
    w: () => { state.order = orders[(orders.indexOf(state.order) + 1) % orders.length]; if (view === "query") show(); },
    x: () => { state.filters.clear(); state.text = ""; state.rows = pirt.chosen(state); show(); },
    "?": () => help.showModal(),
    "/": () => { go("queries"); setTimeout(() => document.getElementById("find")?.focus()); },
    Enter: () => view === "queries" && state.rows.length && go(`query=${state.rows[state.row]}`),
    Escape: () => go(view === "query" ? "queries" : "overview"),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const typing = event.target.matches("input"), pressing = event.target.matches("button, a");
    if (typing && event.key === "Escape") return event.target.blur();
    if (typing || (pressing && event.key === "Enter")) return;
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  document.getElementById("help-button").addEventListener("click", () => help.showModal());
  for (const button of document.querySelectorAll(".evaluation")) button.addEventListener("click", () => focus(Number(button.dataset.number)));
  window.addEventListener("hashchange", show);
  state.rows = pirt.chosen(state);
  show();
})();
