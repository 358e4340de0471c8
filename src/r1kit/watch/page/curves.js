import { choice } from "../report/browser.js";
import { make, readOut, short } from "../report/parts.js";
import { getJson, ofStage } from "./api.js";
import { drawPlot, legendKey, readable } from "./plot.js";
import { latestStage } from "./runs.js";

// The curves of a stage, one colour per metric; or of several runs over each other, one plot per metric and one colour
// per run.

const hasCurves = (stage) => stage.version > 0;

export function createCurves() {
  const plots = document.getElementById("plots");
  const controls = document.getElementById("curve-controls");
  const state = { stages: new Map(), isSmooth: true }; // run -> the chosen stage; without, its latest one
  const fetched = new Map(); // run -> {key, data}
  const figures = new Map(); // title -> {node, plot}: kept while the page is open, so that focus and cursor stay
  let drawn = "";
  let offered = "";

  function offer(view, chosen) {
    const options = chosen.map(({ run, stage, label }) => [label, stage?.name, run.stages.filter(hasCurves).map((s) => s.name)]);
    const text = JSON.stringify(options);
    if (text === offered) return;
    offered = text;
    const selects = chosen.map(({ number, run, stage, label }) => choice(
      chosen.length > 1 ? `Stage of ${label}` : "Stage",
      run.stages.filter(hasCurves).map((each) => [each.name, `${each.name} (${each.kind})`]),
      stage?.name,
      (name) => {
        state.stages.set(number, name);
        view.refresh();
      }));
    const smooth = make("input", { type: "checkbox", change: () => {
      state.isSmooth = smooth.checked;
      view.refresh();
    } });
    smooth.checked = state.isSmooth;
    controls.replaceChildren(...selects.filter(Boolean),
      make("label", { class: "switch" }, smooth, "Running mean, with the logged values in a paler line"));
  }

  async function load({ number, stage }) {
    const key = `${stage.name} ${stage.version}`;
    if (fetched.get(number)?.key !== key) {
      fetched.set(number, { key, data: await getJson(ofStage(number, stage.name, "curves")) });
    }
    return fetched.get(number).data;
  }

  // One plot for each panel of a stage.
  const panelsOfStage = (data) => data.panels.map((panel) => ({
    ...panel,
    curves: Object.entries(panel.curves).map(([name, curve]) => ({ name, ...curve })),
    legends: panel.legends.map((legend) => ({ ...legend, keys: legend.metrics })),
  }));

  // One plot for each metric that any run has, with a curve of each run that has it.
  function panelsOfRuns(series) {
    const byMetric = new Map();
    for (const { data, label } of series) {
      for (const panel of data.panels) {
        for (const [metric, curve] of Object.entries(panel.curves)) {
          const text = panel.legends.find((legend) => legend.metrics.includes(metric))?.text;
          const style = panel.style === "stack" ? "number" : panel.style;
          if (!byMetric.has(metric)) byMetric.set(metric, { ...panel, style, title: metric, curves: [], text });
          byMetric.get(metric).curves.push({ name: label, ...curve });
        }
      }
    }
    const names = series.map(({ label }) => label);
    return [...byMetric.values()].map((panel) => ({
      ...panel,
      curves: names.map((name) => panel.curves.find((curve) => curve.name === name) ?? { name, x: [], y: [] }),
      legends: [{ keys: names, text: panel.text }],
    }));
  }

  function figureOf(title, axes) {
    if (!figures.has(title)) {
      const box = make("div", { class: "plot", tabindex: "0", role: "group" }, make("hr", {}), make("span", {}));
      const node = make("figure", {}, make("figcaption", {}, title, make("output", {})), box, make("div", { class: "legend" }));
      const figure = { node, plot: null };
      readOut(node, () => figure.plot, axes);
      figures.set(title, figure);
    }
    return figures.get(title);
  }

  function draw(panel, axes, isDashed) {
    const known = panel.curves.filter((curve) => curve.x.length);
    const steps = known.flatMap((curve) => [curve.x[0], curve.x.at(-1)]);
    const range = [Math.min(...steps), Math.max(...steps)];
    const figure = figureOf(panel.title, axes);
    const { node } = figure;
    const isSmooth = panel.smooth && state.isSmooth && panel.style !== "stack";
    figure.plot = readable(known, range);
    const box = node.querySelector(".plot");
    box.lastElementChild.replaceWith(drawPlot({ ...panel, isSmooth, isDashed, range, axes }));
    const last = known.map((curve) => `${curve.name} ${short(curve.y.at(-1))}`).join(", ");
    box.setAttribute("aria-label", `${panel.title}, at step ${short(range[1])}: ${last}. Arrow keys read other steps.`);
    const indexOf = (name) => panel.curves.findIndex((curve) => curve.name === name);
    node.querySelector(".legend").replaceChildren(...panel.legends.map(({ keys, text }) => make("p", {},
      ...keys.filter((key) => panel.curves[indexOf(key)].x.length).map((key) => legendKey(indexOf(key), key, isDashed)), text ?? "")));
    return node;
  }

  function timeTable(times) {
    const rows = times.map((time) => make("tr", {}, make("th", { scope: "row" }, time.name), make("td", {}, short(time.seconds)),
      make("td", {}, `${Math.round(100 * time.share)} %`), make("td", {}, time.overlapped ? short(time.overlapped) : "")));
    const head = ["module", "seconds of a step", "share", "overlapped"].map((text) => make("th", { scope: "col" }, text));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Time by module" },
      make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
  }

  function redraw(series) {
    const isOverlay = series.length > 1;
    const axes = series[0].data.axes;
    const panels = isOverlay ? panelsOfRuns(series) : panelsOfStage(series[0].data);
    const nodes = panels.map((panel) => draw(panel, axes, isOverlay));
    const charts = plots.querySelector(".charts") ?? make("div", { class: "charts" });
    if (charts.children.length !== nodes.length || nodes.some((node, i) => charts.children[i] !== node)) {
      charts.replaceChildren(...nodes);
    }
    const rest = [];
    const { times, left_out: leftOut } = series[0].data;
    if (!isOverlay && times.length) rest.push(make("h3", {}, "Time by module"), timeTable(times));
    if (!isOverlay && leftOut.length) rest.push(make("p", {}, `Also logged, without a plot: ${leftOut.join(", ")}.`));
    if (charts.parentElement !== plots) plots.replaceChildren(charts);
    while (charts.nextSibling) charts.nextSibling.remove();
    charts.after(...rest);
  }

  return {
    // Draw the curves of the runs in the plots, or of the chosen run if there are none.
    async show(view) {
      const wanted = view.drawn.length ? view.drawn : [{ number: view.number, run: view.run, label: view.run.name }];
      const chosen = wanted.map((each) => {
        const name = state.stages.get(each.number);
        const stage = each.run.stages.find((s) => s.name === name && hasCurves(s)) ?? latestStage(each.run, hasCurves);
        return { ...each, stage };
      });
      offer(view, chosen);
      const known = chosen.filter(({ stage }) => stage);
      const key = JSON.stringify([state.isSmooth, known.map(({ number, stage }) => [number, stage.name, stage.version])]);
      if (key === drawn) return;
      const series = await Promise.all(known.map(async (each) => ({ ...each, data: await load(each) })));
      if (series.length) redraw(series);
      else plots.replaceChildren(make("p", { class: "empty" }, "No stage has logged a step yet."));
      drawn = key;
    },
  };
}
