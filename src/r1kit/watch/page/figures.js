import { make, readOut, short } from "../report/parts.js";
import { drawPlot, legendKey, readable } from "./plot.js";

// Figures of the report with plots that are drawn again as their curves grow. Their elements are kept while the page is
// open, so that focus and cursor stay.
export function createFigures() {
  const figures = new Map(); // title -> {node, plot}

  function figureOf(title, axes) {
    if (!figures.has(title)) {
      const box = make("div", { class: "plot", tabindex: "0", role: "group" }, make("hr", {}), make("span", {}));
      const caption = make("figcaption", {}, title, make("output", {}));
      const figure = { node: make("figure", {}, caption, box, make("div", { class: "legend" })), plot: null };
      readOut(figure.node, () => figure.plot, axes);
      figures.set(title, figure);
    }
    return figures.get(title);
  }

  function legend(panel, { keys, text }, isDashed) {
    const isShown = (curve) => curve.x.length > 0 && keys.includes(curve.name);
    const shown = panel.curves.map((curve, i) => (isShown(curve) ? legendKey(i, curve.name, isDashed) : ""));
    return make("p", {}, ...shown, text);
  }

  // Draw a panel, {title, style, smooth, curves: [{name, x, y}], legends: [{keys, text}]}, and return its figure. A curve
  // without points keeps its colour for the others.
  return function draw(panel, axes, { isSmooth, isDashed }) {
    const known = panel.curves.filter((curve) => curve.x.length);
    const steps = known.flatMap((curve) => [curve.x[0], curve.x.at(-1)]);
    const range = [Math.min(...steps), Math.max(...steps)];
    const figure = figureOf(panel.title, axes);
    figure.plot = readable(known, range);
    const smooth = isSmooth && panel.smooth && panel.style !== "stack";
    const box = figure.node.querySelector(".plot");
    box.lastElementChild.replaceWith(drawPlot({ ...panel, isSmooth: smooth, isDashed, range, axes }));
    const last = known.map((curve) => `${curve.name} ${short(curve.y.at(-1))}`).join(", ");
    box.setAttribute("aria-label", `${panel.title}, at step ${short(range[1])}: ${last}. Arrow keys read other steps.`);
    figure.node.querySelector(".legend").replaceChildren(...panel.legends.map((part) => legend(panel, part, isDashed)));
    return figure.node;
  };
}
