"use strict";
// Line charts and bars as plain SVG; colours come from the style sheet, so that they follow light and dark.
pirt.charts = (() => {
  const { svg } = pirt;
  const width = 340, height = 220, left = 40, right = 10, top = 8, bottom = 38;

  const line = (series, { x, y, xTicks, yTicks, xLabel, yLabel, label }) => {
    const across = (value) => left + (width - left - right) * x(value);
    const up = (value) => height - bottom - (height - top - bottom) * y(value);
    const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" });
    for (const [value, text] of xTicks) {
      chart.append(svg("line", { x1: across(value), x2: across(value), y1: top, y2: height - bottom, class: "grid" }));
      chart.append(svg("text", { x: across(value), y: height - bottom + 14, "text-anchor": "middle" }, text));
    }
    for (const [value, text] of yTicks) {
      chart.append(svg("line", { x1: left, x2: width - right, y1: up(value), y2: up(value), class: "grid" }));
      chart.append(svg("text", { x: left - 5, y: up(value) + 4, "text-anchor": "end" }, text));
    }
    chart.append(svg("text", { x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, xLabel));
    chart.append(svg("text", { x: 11, y: (height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 11 ${(height - bottom) / 2})` }, yLabel));
    series.forEach((points, number) => {
      const path = points.map(([a, b], at) => `${at ? "L" : "M"}${across(a).toFixed(1)} ${up(b).toFixed(1)}`).join("");
      chart.append(svg("path", { d: path, class: `line colour-${number % 6}` }));
    });
    return chart;
  };

  const percents = [0, 0.25, 0.5, 0.75, 1].map((value) => [value, String(100 * value)]);
  const within = (low, high) => (value) => Math.min(1, Math.max(0, (value - low) / (high - low)));

  const cmc = (evaluations) => {
    const most = Math.max(2, ...evaluations.map((one) => one.cmc.length));
    const ticks = [...new Set([1, 5, 10, 20, most])].filter((rank) => rank <= most && (rank === most || most - rank > 4 || rank < 6));
    return line(evaluations.map((one) => one.cmc.map((value, at) => [at + 1, value])), {
      x: within(1, most), y: within(0, 1), xTicks: ticks.map((rank) => [rank, String(rank)]), yTicks: percents,
      xLabel: "rank", yLabel: "queries with a match, %", label: "Cumulative matching characteristic",
    });
  };

  const roc = (evaluations) => {
    const decades = [-5, -4, -3, -2, -1, 0];
    const log = (value) => Math.log10(Math.max(value, 1e-5));
    return line(evaluations.map((one) => one.roc.map(([wrong, accepted]) => [log(wrong), accepted])), {
      x: within(-5, 0), y: within(0, 1), xTicks: decades.map((power) => [power, power < -3 ? `1e${power}` : String(10 ** power)]),
      yTicks: percents, xLabel: "false-positive rate", yLabel: "true positives, %", label: "Receiver operating characteristic",
    });
  };

  const distribution = (precisions) => {
    const bins = 10;
    const series = precisions.map((values) => {
      const known = values.filter((value) => value !== null), counts = Array(bins).fill(0);
      known.forEach((value) => (counts[Math.min(bins - 1, Math.floor(value * bins))] += 1 / Math.max(known.length, 1)));
      return counts.flatMap((share, at) => [[at / bins, share], [(at + 1) / bins, share]]);
    });
    const most = Math.max(0.1, ...series.flat().map(([, share]) => share));
    return line(series, {
      x: within(0, 1), y: within(0, most), xTicks: percents, yTicks: [0, most / 2, most].map((v) => [v, (100 * v).toFixed(0)]),
      xLabel: "average precision, %", yLabel: "queries, %", label: "Distribution of average precision over queries",
    });
  };

  const bar = (interval, number) => {
    const chart = svg("svg", { viewBox: "0 0 200 12", preserveAspectRatio: "none", class: "bar", "aria-hidden": "true" });
    if (interval) {
      const at = (value) => 200 * value;
      chart.append(svg("rect", { x: 0, y: 1, width: at(interval.mean), height: 10, class: `fill colour-${number % 6}` }));
      if (interval.low !== null) chart.append(svg("line", { x1: at(interval.low), x2: at(interval.high), y1: 6, y2: 6, class: "whisker" }));
    }
    return chart;
  };

  const places = (found, most, number) => {
    const chart = svg("svg", { viewBox: "0 0 600 34", role: "img", class: "places", "aria-label": `places of the true matches: ${found.join(", ")}` });
    const across = (place) => 12 + (576 * Math.log10(place)) / Math.log10(Math.max(most, 10));
    chart.append(svg("line", { x1: 12, x2: 588, y1: 10, y2: 10, class: "grid" }));
    for (let power = 1; power <= most; power *= 10)
      chart.append(svg("text", { x: across(power), y: 30, "text-anchor": "middle" }, String(power)));
    found.forEach((place) => chart.append(svg("circle", { cx: across(place), cy: 10, r: 5, class: `fill colour-${number % 6}` })));
    return chart;
  };

  return { cmc, roc, distribution, bar, places };
})();
