"use strict";
// One query: what each evaluation finds, where its true matches stand, and a pair's distance taken apart.
pirt.showQuery = async (state, go) => {
  const { el, percent } = pirt;
  const data = pirt.overview, query = state.query, scale = data.scale;
  const piece = await pirt.load(`queries-${Math.floor(query / data.perPiece)}`);
  const found = piece.queries[query], pid = data.pids[query], camid = data.camids[query], count = data.keys.length;

  const verdict = (image, junk) => {
    const [, other, camera] = piece.images[image];
    if (other === -1 && junk === "drop") return ["junk", "junk, not counted"];
    if (other === pid && pid > 0) return camera === camid ? ["dropped", "own camera, not counted"] : ["match", "match"];
    return other === 0 || other === -1 ? ["distractor", "distractor"] : ["other", "other"];
  };
  const heat = (number) => el("span", { class: "heat", "aria-hidden": "true" }, data.body.map((_, group) => {
    const layer = el("img", { src: pirt.file("heatmaps", number), alt: "" });
    layer.style.filter = `url(#heat-${group})`;
    return layer;
  }));
  const picture = (image, label) => el("img", { src: pirt.file("thumbnails", count + image), alt: label, loading: "lazy" });
  const distance = (one, image) => {
    const at = one.images.indexOf(image);
    const parts = one.parts.map((values, group) => [values[at] / scale, one.weights[group][at] / scale]);
    return { base: one.base[at] / scale, parts, compared: one.compared[at], ranked: one.ranked[at] / scale };
  };

  const bars = (values, groups) => el("span", { class: "confidence" }, groups.map((name, group) => {
    const inner = el("i", { class: `part-${data.body.indexOf(name)}` });
    inner.style.width = `${Math.min(100, (100 * values[group]) / scale)}%`;
    return el("span", { class: "line" }, el("span", {}, name), el("span", { class: "track" }, inner), el("b", {}, (values[group] / scale).toFixed(2)));
  }));

  const place = (one, image) => {
    const at = one.matches.indexOf(image);
    return at < 0 ? null : one.places[at];
  };
  const panel = el("div", { id: "pair", "aria-live": "polite" });
  const choose = (image, asked = true) => {
    state.pair = image;
    for (const node of document.querySelectorAll(".shown[data-image]")) node.classList.toggle("chosen", Number(node.dataset.image) === image);
    panel.replaceChildren(...pair(image));
    if (asked) panel.scrollIntoView({ block: "nearest" });
  };

  const pair = (image) => {
    const [key, other, camera] = piece.images[image];
    const tables = found.map((one, number) => {
      const evaluation = data.evaluations[number];
      const apart = distance(one, image), theirs = piece.confidence[number];
      const [offset, slope] = evaluation.calibration;
      const whole = apart.base + apart.parts.reduce((sum, [far, weight]) => sum + far * weight, 0);
      const likely = 1 / (1 + Math.exp(slope * whole - offset));
      const rows = [[evaluation.base, apart.base.toFixed(3), "1", apart.base.toFixed(3)]];
      apart.parts.forEach(([far, weight], group) => rows.push([evaluation.groups[group], far.toFixed(3), weight.toFixed(3), (far * weight).toFixed(3)]));
      return el("div", { class: "apart" },
        el("h4", {}, el("span", { class: `name colour-${number % 6}` }, evaluation.name)),
        el("table", {}, el("thead", {}, el("tr", {}, ["", "distance", "× weight", "="].map((title) => el("th", { scope: "col" }, title)))),
          el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, at) => el(at ? "td" : "th", {}, cell))))),
          el("tfoot", {}, el("tr", {}, el("th", { colspan: 3 }, "ranked distance"), el("td", { class: "total" }, apart.ranked.toFixed(3))))),
        apart.parts.length && !apart.compared ? el("p", { class: "note" }, `Behind the first ${evaluation.compared}: ranked by the ${evaluation.coarse === "stripe" ? "stripes' " : ""}global distance alone.`) : null,
        el("p", { class: "note" }, `Probability of one person: ${percent(likely, 2)} %`),
        theirs ? el("div", { class: "both" }, el("div", {}, el("h5", {}, "confidence of the query"), bars(one.confidence, evaluation.groups)), el("div", {}, el("h5", {}, "of this image"), bars(theirs[image], evaluation.groups))) : null);
    });
    return [el("h3", {}, "This pair"), el("p", { class: "note" }, key, ` · pid ${other} · camera ${camera}`),
      el("div", { class: "pair" }, picture(image, "the image that the query is compared with"),
        el("div", { class: "tables" }, tables))];
  };

  const shown = (one, evaluation, image, number) => {
    const [kind, words] = verdict(image, evaluation.junk), apart = distance(one, image);
    const rank = number === null ? "–" : String(number);
    return el("button", { type: "button", class: `shown ${kind}`, "data-image": image, title: piece.images[image][0], onclick: () => choose(image) },
      picture(image, `${rank}: ${words}`), el("span", { class: "rank" }, rank), el("span", { class: "far" }, apart.ranked.toFixed(3)), el("span", { class: "kind" }, words.split(",")[0]));
  };
  const list = (one, number) => {
    const evaluation = data.evaluations[number];
    const order = one.lists[state.order] ? state.order : "ranked";
    let counted = 0;
    const images = one.lists[order].map((image) => {
      const left = ["junk", "dropped"].includes(verdict(image, evaluation.junk)[0]);
      return shown(one, evaluation, image, left ? null : (counted += 1));
    });
    const orders = Object.keys(one.lists);
    const titles = { ranked: "as ranked", even: "without confidences", global: "without parts" };
    return el("section", { class: `found${number === state.evaluation ? " focus" : ""}`, "data-evaluation": number },
      el("h3", {}, el("span", { class: `name colour-${number % 6}` }, evaluation.name), ` AP ${percent(one.precisions[order])}`,
        one.places.length ? `, first match at ${one.places[0]}` : ", no valid match", order === "ranked" ? "" : ` (${titles[order]})`),
      orders.length > 1 ? el("div", { class: "orders", role: "group", "aria-label": "order" }, orders.map((name) =>
        el("button", { type: "button", "aria-pressed": String(name === order), "data-order": name, onclick: () => { state.order = name; state.redraw(); } },
          `${titles[name]} ${percent(one.precisions[name])}`))) : null,
      el("div", { class: "list" }, images),
      one.matches.length ? [el("h4", {}, "All true matches, and their places"),
        pirt.charts.places(one.places, Math.max(...one.places, 10), number),
        el("div", { class: "list matches" }, one.matches.map((image) => shown(one, evaluation, image, place(one, image))))] : null);
  };

  const focus = found[state.evaluation];
  const view = el("div", { id: "query" },
    el("h1", {}, data.keys[query]),
    el("p", { class: "note" }, `pid ${pid} · camera ${camid} · query ${query + 1} of ${count} · `, data.traits.map((trait) => `${trait.title.toLowerCase()}: ${trait.labels[trait.bins[query]]}`).join(" · ")),
    el("div", { class: "asked" },
      el("figure", { class: `big${state.heat ? " with-heat" : ""}` }, el("img", { src: pirt.file("thumbnails", query), alt: `query ${data.keys[query]}` }), heat(query)),
      el("div", { class: "facts" },
        el("button", { type: "button", id: "heat", "aria-pressed": String(state.heat), onclick: () => { state.heat = !state.heat; state.redraw(); } }, "heatmaps"),
        el("ul", { class: "legend" }, data.body.map((name, group) => el("li", { class: `part-${group}` }, name))),
        focus.confidence ? [el("h5", {}, `confidence, ${data.evaluations[state.evaluation].name}`), bars(focus.confidence, data.evaluations[state.evaluation].groups)] : null,
        el("ul", { class: "legend frames" }, [["match", "match"], ["other", "other: another person"], ["dropped", "own camera, not counted"], ["distractor", "distractor"], ["junk", "junk, not counted"]].map(([kind, words]) => el("li", { class: kind }, words)))),
      panel),
    el("div", { class: "lists" }, found.map(list)));
  state.redraw = () => go(null);
  const known = found.some((one) => one.images.includes(state.pair));
  const first = focus.matches[0] ?? focus.lists.ranked[0];
  queueMicrotask(() => choose(known ? state.pair : first, false));
  return view;
};
