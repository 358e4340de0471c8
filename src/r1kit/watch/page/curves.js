import { choice } from "../report/browser.js";
import { make, short } from "../report/parts.js";
import { getJson, ofStage } from "./api.js";
import { createFigures } from "./figures.js";
import { latestStage } from "./runs.js";

// The curves of a stage, one colour per metric; or of several runs over each other, one plot per metric and one colour
// per run.

const hasCurves = (stage) => stage.version > 0;

// One plot for each panel of a stage.
const panelsOfStage = (data) => data.panels.map((panel) => ({
  ...panel,
  curves: Object.entries(panel.curves).map(([name, curve]) => ({ name, ...curve })),
  legends: panel.legends.map(({ metrics, text }) => ({ keys: metrics, text })),
}));

// One plot for each metric that any run has, with a curve for each run.
function panelsOfRuns(series) {
  const names = series.map(({ label }) => label);
  const byMetric = new Map();
  for (const { data, label } of series) {
    for (const panel of data.panels) {
      for (const [metric, curve] of Object.entries(panel.curves)) {
        if (!byMetric.has(metric)) {
          const { text } = panel.legends.find(({ metrics }) => metrics.includes(metric));
          byMetric.set(metric, {
            title: metric,
            style: panel.style === "stack" ? "number" : panel.style,
            smooth: panel.smooth,
            curves: names.map((name) => ({ name, x: [], y: [] })),
            legends: [{ keys: names, text }],
          });
        }
        Object.assign(byMetric.get(metric).curves[names.indexOf(label)], curve);
      }
    }
  }
  return [...byMetric.values()];
}

function timeTable(times) {
  const head = ["module", "seconds of a step", "share", "overlapped"].map((text) => make("th", { scope: "col" }, text));
  const rows = times.map((time) => make("tr", {},
    make("th", { scope: "row" }, time.name),
    make("td", {}, short(time.seconds)),
    make("td", {}, `${Math.round(100 * time.share)} %`),
    make("td", {}, time.overlapped ? short(time.overlapped) : "")));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Time by module" },
    make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
}

// What follows the plots of one stage.
function details({ times, left_out: leftOut }) {
  return [
    ...(times.length ? [make("h3", {}, "Time by module"), timeTable(times)] : []),
    ...(leftOut.length ? [make("p", {}, `Also logged, without a plot: ${leftOut.join(", ")}.`)] : []),
  ];
}

export function createCurves() {
  const plots = document.getElementById("plots");
  const controls = document.getElementById("curve-controls");
  const charts = make("div", { class: "charts" });
  const after = make("div", {});
  const drawFigure = createFigures();
  const state = { stages: new Map(), isSmooth: true }; // run -> the chosen stage; without, its latest one
  const fetched = new Map(); // run -> {key, data}
  let drawn = "";
  let offered = "";

  // The runs to draw, each with its stage: those in the plots, or the chosen one.
  function chosenOf(view) {
    const runs = view.drawn.length ? view.drawn : [{ number: view.number, run: view.run, label: view.run.name }];
    return runs.map((each) => {
      const name = state.stages.get(each.number);
      const stage = each.run.stages.find((one) => one.name === name && hasCurves(one)) ?? latestStage(each.run, hasCurves);
      return { ...each, stage, stages: each.run.stages.filter(hasCurves) };
    });
  }

  function offer(chosen, refresh) {
    const options = chosen.map(({ label, stage, stages }) => [label, stage?.name, stages.map((one) => one.name)]);
    const text = JSON.stringify(options);
    if (text === offered) return;
    offered = text;
    const selects = chosen.map(({ number, label, stage, stages }) => choice(
      chosen.length > 1 ? `Stage of ${label}` : "Stage",
      stages.map((one) => [one.name, `${one.name} (${one.kind})`]),
      stage?.name,
      (name) => {
        state.stages.set(number, name);
        refresh();
      }));
    const smooth = make("input", { type: "checkbox", change: () => {
      state.isSmooth = smooth.checked;
      refresh();
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

  function redraw(series) {
    const isDashed = series.length > 1;
    const panels = isDashed ? panelsOfRuns(series) : panelsOfStage(series[0].data);
    const nodes = panels.map((panel) => drawFigure(panel, series[0].data.axes, { isSmooth: state.isSmooth, isDashed }));
    const isSame = nodes.length === charts.children.length && nodes.every((node, i) => node === charts.children[i]);
    if (!isSame) charts.replaceChildren(...nodes); // else a figure in focus would lose it
    after.replaceChildren(...(isDashed ? [] : details(series[0].data)));
    if (!charts.isConnected) plots.replaceChildren(charts, after);
  }

  return {
    async show(view) {
      const chosen = chosenOf(view);
      offer(chosen, view.refresh);
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
