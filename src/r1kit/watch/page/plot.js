import { make } from "../report/parts.js";

// Curves as SVG, with the look of the report's plots.

const WIDTH = 338;
const HEIGHT = 151;
const TOP = 6;
const BOTTOM = 20; // pixels below the plot, for the labels of the steps
const NICE = [1, 2, 2.5, 5, 10];
const FLAT = 1e-3; // curves that vary less than this share of their size are drawn as constant
const MARKED = 30; // curves with so few points show each of them
const DASHES = 4; // patterns of lines, so that runs differ without colour

const svg = (tag, attributes, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const round = (value) => Math.round(value * 100) / 100;

// A number with three digits and a unit: 0.25, 3,200, 15k, 12M, 4e-5.
export function compact(value) {
  const size = Math.abs(value);
  for (const [unit, least, scale] of [["B", 9.995e8, 1e9], ["M", 9.995e5, 1e6], ["k", 1e4, 1e3]]) {
    if (size >= least) return `${Number((value / scale).toPrecision(3))}${unit}`;
  }
  if (size >= 999.5) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

// At most `count` + 1 round numbers between two limits.
export function ticks(low, high, count, isWhole = false) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = power * NICE.find((nice) => power * nice >= rough * 0.999);
  if (isWhole) step = Math.max(1, Math.round(step));
  const first = Math.ceil(low / step - 1e-9);
  const length = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: Math.max(0, length) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

// Limits and ticks of the y axis.
function verticalAxis(values, style) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (style === "log") {
    const positive = values.filter((value) => value > 0);
    if (positive.length) {
      const bottom = Math.floor(Math.log10(Math.min(...positive)));
      const top = Math.max(bottom + 1, Math.ceil(Math.log10(high)));
      const every = Math.ceil((top - bottom) / 5);
      const marks = [];
      for (let power = bottom; power <= top; power += every) marks.push(10 ** power);
      return { low: 10 ** bottom, high: 10 ** top, marks, isLog: true };
    }
  }
  if (style === "share") {
    const top = high > 0.7 ? 1.02 : Math.max(high * 1.05, 0.05);
    return { low: Math.min(0, low), high: top, marks: ticks(0, top, 4) };
  }
  if (style !== "stack" && high - low <= FLAT * Math.max(Math.abs(low), Math.abs(high))) {
    const middle = (low + high) / 2;
    const [bottom, top] = middle ? [Math.min(0, 2 * middle), Math.max(0, 2 * middle)] : [-1, 1];
    return { low: bottom, high: top, marks: middle ? [0, middle] : [0] };
  }
  const space = 0.05 * (high - low);
  const bottom = style === "stack" || (low >= 0 && low < 0.7 * high) ? 0 : low - space;
  return { low: bottom, high: high + space, marks: ticks(bottom, high + space, 4) };
}

function runningMean(values, width) {
  return values.map((_, i) => {
    const near = values.slice(Math.max(0, i - width), i + width + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}

const lineStyle = (i, isDashed) => `curve c${1 + (i % 8)}${isDashed ? ` dash${i % DASHES}` : ""}`;

function linePath(xs, ys) {
  return xs.map((x, i) => `${i ? "L" : "M"}${round(x)},${round(ys[i])}`).join("");
}

// Draw curves into a new <svg>. `curves`: [{name, x, y}], `range`: the first and the last step, `axes`: the ends of the
// x axis as shares of the width.
export function drawPlot({ title, style, curves, isSmooth, isDashed, range: [first, last], axes: [left, right] }) {
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });
  const stacked = style === "stack" ? stack(curves) : null;
  const vertical = verticalAxis(stacked ? stacked.at(-1).top : curves.flatMap((curve) => curve.y), style);
  const floor = HEIGHT - BOTTOM;
  const scale = vertical.isLog ? (value) => Math.log10(Math.max(value, vertical.low)) : Number;
  const span = scale(vertical.high) - scale(vertical.low);
  const toX = (x) => WIDTH * (left + (right - left) * (last === first ? 0.5 : (x - first) / (last - first)));
  const toY = (y) => floor - (floor - TOP) * ((scale(y) - scale(vertical.low)) / span);
  for (const mark of vertical.marks) {
    const y = round(toY(mark));
    root.append(svg("line", { class: "grid", x1: WIDTH * left, x2: WIDTH * right, y1: y, y2: y }));
    const label = style === "share" ? `${compact(100 * mark)}%` : compact(mark);
    root.append(svg("text", { class: "tick", x: WIDTH * left - 4, y: y + 3.5, "text-anchor": "end" }, label));
  }
  for (const mark of ticks(first, last, 5, true)) {
    root.append(svg("text", { class: "tick", x: round(toX(mark)), y: HEIGHT - 6, "text-anchor": "middle" }, compact(mark)));
  }
  if (stacked) stacked.forEach((area, i) => root.append(drawArea(area, i, toX, toY)));
  else curves.forEach((curve, i) => root.append(...drawCurve(curve, i, { isSmooth, isDashed, toX, toY })));
  root.append(svg("line", { class: "grid", x1: WIDTH * left, x2: WIDTH * right, y1: floor, y2: floor }));
  return root;
}

function drawCurve({ x, y }, i, { isSmooth, isDashed, toX, toY }) {
  const style = lineStyle(i, isDashed);
  const xs = x.map(toX);
  const width = isSmooth ? Math.floor(x.length / 30) : 0; // neighbours on either side that the running mean covers
  const logged = svg("path", { class: width ? `${lineStyle(i, false)} pale` : style, d: linePath(xs, y.map(toY)) });
  if (width) return [logged, svg("path", { class: style, d: linePath(xs, runningMean(y, width).map(toY)) })];
  if (x.length > MARKED) return [logged];
  return [logged, ...x.map((_, j) => svg("circle", { class: style, cx: round(xs[j]), cy: round(toY(y[j])), r: 1.6 }))];
}

// Each curve on top of those before it, with 0 for steps that it does not have.
function stack(curves) {
  const steps = stepsOf(curves);
  let bottom = steps.map(() => 0);
  return curves.map((curve) => {
    const values = valuesAt(curve, steps);
    const area = { x: steps, bottom, top: bottom.map((value, i) => value + (values[i] ?? 0)) };
    bottom = area.top;
    return area;
  });
}

function drawArea({ x, bottom, top }, i, toX, toY) {
  const xs = x.map(toX);
  const back = linePath([...xs].reverse(), bottom.map(toY).reverse()).replace("M", "L");
  return svg("path", { class: `area c${1 + (i % 8)}`, d: `${linePath(xs, top.map(toY))}${back}Z` });
}

const stepsOf = (curves) => [...new Set(curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);

function valuesAt(curve, steps) {
  const known = new Map(curve.x.map((x, i) => [x, curve.y[i]]));
  return steps.map((step) => known.get(step) ?? null);
}

// The values that `readOut` of the report shows at the cursor.
export function readable(curves, range) {
  const steps = stepsOf(curves);
  return { x: steps, y: Object.fromEntries(curves.map((curve) => [curve.name, valuesAt(curve, steps)])), range };
}

// A key of a legend: a line in the colour and pattern of curve `i`.
export function legendKey(i, name, isDashed) {
  const line = svg("path", { class: lineStyle(i, isDashed), d: "M1,4H21" });
  const sample = svg("svg", { viewBox: "0 0 22 8", class: "sample", "aria-hidden": "true" }, line);
  return make("span", { class: "key" }, sample, name);
}
