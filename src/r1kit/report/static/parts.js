// Elements that pages about a run consist of. Model output is always inserted as text, never as markup.

// Create an element. Options that are functions become event listeners, the others attributes; strings become text nodes.
export function make(tag, options, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(options)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function short(value) {
  if (typeof value !== "number") return String(value ?? "-");
  const size = Math.abs(value);
  if (Number.isInteger(value) || size >= 1000) return Math.round(value).toLocaleString("en");
  return size < 1e-4 ? value.toExponential(2).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(3)));
}

export const signed = (value) => (typeof value === "number" ? (value > 0 ? "+" : "") + value.toFixed(2) : "-");

// --- plots: the values at the cursor, or at the step that the arrow keys choose ---

// `plotOf` returns the current {x, y: {name: values}, range, log, name} of a figure that may be drawn again. `axes` has
// the ends of the x axis as shares of the width.
export function readOut(figure, plotOf, [left, right]) {
  const box = figure.querySelector(".plot");
  const line = figure.querySelector("hr");
  const output = figure.querySelector("output");
  let chosen = null; // index of the step
  const at = (plot, x) => { // share of the axis
    const scale = plot.log ? Math.log2 : Number;
    const [low, high] = plot.range;
    return high === low ? 0.5 : (scale(x) - scale(low)) / (scale(high) - scale(low));
  };
  const show = (index) => {
    const plot = plotOf();
    chosen = Math.max(0, Math.min(index, plot.x.length - 1));
    const names = Object.keys(plot.y);
    const values = names
      .filter((name) => (plot.y[name][chosen] ?? null) !== null)
      .map((name) => (names.length > 1 ? `${name.split("/").pop()} ` : "") + short(plot.y[name][chosen]));
    line.style.left = `${100 * (left + at(plot, plot.x[chosen]) * (right - left))}%`;
    line.style.display = "block";
    output.textContent = `${plot.name ?? "step"} ${short(plot.x[chosen])}: ${values.join(" · ")}`;
  };
  const hide = () => {
    chosen = null;
    line.style.display = "none";
    output.textContent = "";
  };
  box.addEventListener("pointermove", (event) => {
    const plot = plotOf();
    const share = (event.clientX - box.getBoundingClientRect().left) / box.clientWidth;
    const pointed = (share - left) / (right - left);
    let best = 0;
    plot.x.forEach((x, i) => {
      if (Math.abs(at(plot, x) - pointed) < Math.abs(at(plot, plot.x[best]) - pointed)) best = i;
    });
    show(best);
  });
  box.addEventListener("keydown", (event) => {
    const last = plotOf().x.length - 1;
    const target = { ArrowLeft: (chosen ?? last + 1) - 1, ArrowRight: (chosen ?? last - 1) + 1, Home: 0, End: last };
    if (!(event.key in target)) return;
    event.preventDefault();
    show(target[event.key]);
  });
  box.addEventListener("pointerleave", hide);
  box.addEventListener("blur", hide);
}

// --- one completion ---

// The text with its <think> and <answer> parts in boxes. If the prompt ends with <think>, the text starts inside it.
export function completionText(text) {
  const node = make("div", { class: "text" });
  const pieces = String(text ?? "").split(/(<\/?(?:think|answer)>)/);
  let part = node;
  const open = (name) => {
    part = make("span", { class: name });
    node.append(part);
  };
  if (pieces[1] === "</think>") open("think");
  pieces.forEach((piece, i) => {
    const isTag = i % 2 === 1;
    if (isTag && !piece.startsWith("</")) open(piece.slice(1, -1));
    if (isTag) part.append(make("span", { class: "tag" }, piece));
    else if (part !== node || piece.trim()) part.append(part === node && i ? piece.replace(/^\n+/, "") : piece);
    if (isTag && piece.startsWith("</")) part = node;
  });
  return node;
}

// An episode: the policy's turns, numbered, as completions, and what its environment wrote under the name of its role.
function episode(spans) {
  let turns = 0;
  const part = (name, kind, body) => make("li", { class: kind }, make("div", { class: "author" }, name), body);
  return make("ol", { class: "episode" }, ...spans.map(([role, text]) => (role === "assistant"
    ? part(`turn ${(turns += 1)}`, "turn", completionText(text))
    : part(role, "message", make("div", { class: "text" }, text)))));
}

export function mark(row) {
  if (row.correct === undefined) return make("span", {}, "•");
  return make("span", { class: row.correct ? "right" : "wrong" }, row.correct ? "✓" : "✗");
}

export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return make("dl", { class: "meta" },
    ...known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
}

export function completion(row) {
  const yesNo = (value, yes, no) => (value === undefined ? undefined : value ? yes : no);
  const parts = Object.entries(row.parts ?? {}).map(([name, value]) => `${name} ${short(value)}`);
  return make("div", {},
    facts([
      ["extracted answer", row.extracted ?? "none"],
      ["verdict", yesNo(row.correct, "correct", "wrong")],
      ["reason", row.reason],
      ["format", yesNo(row.format, "valid", "invalid")],
      ["reward", row.reward === undefined ? undefined : short(row.reward)],
      ["reward parts", parts.join(", ")],
      ["rewards", Object.entries(row.rewards ?? {}).map(([name, value]) => `${name} ${short(value)}`).join(", ")],
      ["advantage", row.advantage === undefined ? undefined : signed(row.advantage)],
      ["tokens", row.tokens === undefined ? undefined : short(row.tokens)],
      ["end", row.finish_reason === "length" ? "truncated at the length limit" : undefined],
    ]),
    row.spans ? episode(row.spans) : completionText(row.completion));
}

export const about = (group) => facts([
  ["reference answer", group.answer],
  ["family", group.family],
  ["level", Number(group.level) === 0 ? undefined : group.level],
  ["language", group.language],
]);
