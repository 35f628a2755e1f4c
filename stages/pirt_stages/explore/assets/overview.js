"use strict";
// What each evaluation is worth, where it fails, and from which distance on two images are of two persons.
pirt.showOverview = (state, go) => {
  const { el, percent, signed, charts } = pirt;
  const data = pirt.overview, evaluations = data.evaluations;
  const several = evaluations.length > 1;

  const name = (number) => el("span", { class: `name colour-${number % 6}` }, evaluations[number].name);
  const range = (interval) => (interval && interval.low !== null ? `${percent(interval.low)} to ${percent(interval.high)}` : "");
  const difference = (found) => {
    if (!found) return "–";
    if (found.low === null) return signed(found.mean);
    const sure = found.low > 0 || found.high < 0;
    return el("span", { class: sure ? "sure" : "unsure", title: `95 %: ${signed(found.low)} to ${signed(found.high)}` },
      `${signed(found.mean)} (${signed(found.low)} to ${signed(found.high)})`);
  };
  const table = (head, rows) => el("div", { class: "wide" }, el("table", {},
    el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, at) => el(at ? "td" : "th", at ? {} : { scope: "row" }, cell)))))));

  const scores = table(
    ["", "mAP", "95 %", ...(several ? [`Δ to ${evaluations[0].name}`] : []), "rank-1", "rank-5", "rank-10", "mINP"],
    evaluations.map((one, number) => [
      name(number), percent(one.mAP), range(data.all.mAP[number]),
      ...(several ? [number ? difference(data.all.difference[number - 1]) : ""] : []),
      ...[1, 5, 10].map((rank) => rank > one.cmc.length ? "–" : percent(one.cmc[rank - 1])), percent(one.mINP),
    ]));

  const verification = table(
    ["", "equal error rate", "at distance", ...evaluations[0].rates.flatMap(([rate]) => [`TPR at ${rate} FPR, %`, "at distance"])],
    evaluations.map((one, number) => [
      name(number), percent((one.equalErrors[0] + 1 - one.equalErrors[1]) / 2, 2), one.equalErrors[2].toFixed(4),
      ...one.rates.flatMap(([, accepted, threshold]) => [percent(accepted), threshold.toFixed(4)]),
    ]));

  const row = (trait, place) => {
    const means = trait.means[place];
    const chosen = state.filters.get(trait.name) === place;
    const text = means.mAP.map((m, number) => `${evaluations[number].name} ${percent(m && m.mean)}`).join(", ");
    return el("button", {
      type: "button", class: "bars", "aria-pressed": String(chosen), "data-trait": trait.name, "data-bin": place,
      "aria-label": `${trait.title}: ${trait.labels[place]}, ${means.queries} queries, mAP ${text}; show these`,
      onclick: () => { chosen ? state.filters.delete(trait.name) : state.filters.set(trait.name, place); go("queries"); },
    },
    el("span", { class: "label" }, trait.labels[place], el("small", {}, ` ${means.queries}`)),
    el("span", { class: "stack" }, means.mAP.map((interval, number) => el("span", { class: "one" }, charts.bar(interval, number), el("b", {}, percent(interval && interval.mean))))),
    several ? el("span", { class: "deltas" }, means.difference.map((found) => el("span", {}, difference(found)))) : null);
  };

  const traits = data.traits.map((trait) => el("section", { class: "trait" },
    el("h3", {}, trait.title), trait.note ? el("p", { class: "note" }, trait.note) : null,
    trait.labels.map((_, place) => row(trait, place))));

  const cameras = data.cameraPairs.map((found, number) => {
    if (!found) return null;
    const trait = data.traits.find((one) => one.name === "camera");
    const cell = ([mean, count], at) => {
      const node = el("td", { title: `${count} queries` }, mean === null ? "" :
        el("button", { type: "button", onclick: () => { state.filters.set("camera", at); go("queries"); } }, percent(mean, 0)));
      if (mean !== null) node.style.setProperty("--share", mean);
      return node;
    };
    return el("div", { class: "wide" }, el("table", { class: "cameras" }, el("caption", {}, name(number)),
      el("thead", {}, el("tr", {}, el("th", {}, "query ↓ gallery →"), found.gallery.map((camera) => el("th", { scope: "col" }, camera)))),
      el("tbody", {}, found.cells.map((cells, at) => el("tr", {}, el("th", { scope: "row" }, trait.labels[at]), cells.map((one) => cell(one, at)))))));
  });

  return el("div", { id: "overview" },
    el("h1", {}, "Overview"),
    el("p", { class: "note" }, `${data.keys.length} queries. Intervals are 95 % bootstrap intervals over identities. `,
      el("a", { href: "queries.csv", download: true }, "All queries as CSV")),
    scores,
    el("div", { class: "charts" },
      el("figure", {}, charts.cmc(evaluations), el("figcaption", {}, "Queries with a match among the first images")),
      el("figure", {}, charts.distribution(data.precisions), el("figcaption", {}, "Average precision by query")),
      el("figure", {}, charts.roc(evaluations), el("figcaption", {}, "Same person or different: all pairs"))),
    el("h2", {}, "Where it fails"),
    el("p", { class: "note" }, "Mean average precision of groups of queries; choose a group to see its queries."),
    el("div", { class: "traits" }, traits),
    cameras.some(Boolean) ? [el("h2", {}, "Camera pairs"), el("p", { class: "note" }, "Mean average precision, in %, within the gallery of one camera."), cameras] : null,
    el("h2", {}, "Same or different"),
    el("p", { class: "note" }, "From which distance on are two images of two persons? ",
      evaluations.map((one) => `${one.name}: ${one.pairs[0].toLocaleString("en")} pairs of one person, ${one.pairs[1].toLocaleString("en")} of two. `),
      "pirt-search --threshold uses these."),
    verification);
};
