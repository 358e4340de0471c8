"use strict";
// Model output is always inserted as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);

// Create an element. Options that are functions become event listeners, the others attributes; strings become text nodes.
function make(tag, options, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(options)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function short(value) {
  if (typeof value !== "number") return String(value ?? "-");
  const size = Math.abs(value);
  if (Number.isInteger(value) || size >= 1000) return Math.round(value).toLocaleString("en");
  return size < 1e-4 ? value.toExponential(2).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(3)));
}

const signed = (value) => (typeof value === "number" ? (value > 0 ? "+" : "") + value.toFixed(2) : "-");

// --- plots: the values at the cursor ---

function readOut(figure, plot) {
  const box = figure.querySelector(".plot");
  const line = figure.querySelector("hr");
  const output = figure.querySelector("output");
  const [left, right] = data.axes;
  const [low, high] = plot.range;
  const names = Object.keys(plot.y);
  box.addEventListener("pointermove", (event) => {
    const share = (event.clientX - box.getBoundingClientRect().left) / box.clientWidth;
    const step = low + ((share - left) / (right - left)) * (high - low);
    let best = 0;
    plot.x.forEach((x, i) => {
      if (Math.abs(x - step) < Math.abs(plot.x[best] - step)) best = i;
    });
    const values = names
      .filter((name) => plot.y[name][best] !== null)
      .map((name) => (names.length > 1 ? `${name.split("/").pop()} ` : "") + short(plot.y[name][best]));
    line.style.left = `${100 * (left + ((plot.x[best] - low) / (high - low)) * (right - left))}%`;
    line.style.display = "block";
    output.textContent = `step ${short(plot.x[best])}: ${values.join(" · ")}`;
  });
  box.addEventListener("pointerleave", () => {
    line.style.display = "none";
    output.textContent = "";
  });
}

for (const [id, plot] of Object.entries(data.plots)) readOut(document.getElementById(id), plot);

// --- one completion ---

// The text with its <think> and <answer> parts in boxes. If the prompt ends with <think>, the text starts inside it.
function completionText(text) {
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
    else if (part !== node || piece.trim()) part.append(piece);
    if (isTag && piece.startsWith("</")) part = node;
  });
  return node;
}

function mark(row) {
  if (row.correct === undefined) return make("span", {}, "•");
  return make("span", { class: row.correct ? "right" : "wrong" }, row.correct ? "✓" : "✗");
}

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return make("dl", { class: "meta" },
    ...known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
}

function completion(row) {
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
      ["advantage", row.advantage === undefined ? undefined : signed(row.advantage)],
      ["tokens", row.tokens === undefined ? undefined : short(row.tokens)],
      ["end", row.finish_reason === "length" ? "truncated at the length limit" : undefined],
    ]),
    completionText(row.completion));
}

const about = (group) => facts([
  ["reference answer", group.answer],
  ["family", group.family],
  ["level", Number(group.level) === 0 ? undefined : group.level],
  ["language", group.language],
]);

// --- filters ---

const unique = (values) => [...new Set(values.map((value) => String(value ?? "")))]
  .filter((value) => value !== "" && value !== "0")
  .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
const matches = (filter, value) => filter === "" || String(value) === filter;
const OUTCOMES = [["", "every outcome"], ["right", "all correct"], ["mixed", "some correct"], ["wrong", "none correct"]];

function outcome(group) {
  const rows = group.completions ?? Object.values(group.answers).flat();
  const correct = rows.filter((row) => row.correct).length;
  return correct === 0 ? "wrong" : correct === rows.length ? "right" : "mixed";
}

// A labelled <select> of [value, text] pairs, or null if there is only one option.
function choice(name, options, value, onChange) {
  if (options.length < 2) return null;
  const select = make("select", { change: () => onChange(select.value) },
    ...options.map(([key, text]) => make("option", { value: key }, text)));
  select.value = value;
  return make("label", {}, name, select);
}

// Fill `root` with controls and the selected question.
// `controls(state, show)` returns selects that come before the filters, `select(state)` the questions they select, and
// `draw(questions, state, show)` the element for the questions that pass the filters. `show(change)` updates the state
// and redraws.
function browser(root, controls, select, draw) {
  const state = { family: "", level: "", outcome: "", question: 0, sample: 0 };
  function show(change) {
    Object.assign(state, change);
    const all = select(state);
    for (const key of ["family", "level"]) if (!all.some((group) => matches(state[key], group[key]))) state[key] = "";
    const filter = (name, key, options) =>
      choice(name, options, state[key], (value) => show({ [key]: value, question: 0, sample: 0 }));
    const optionsOf = (key) => [["", `every ${key}`], ...unique(all.map((group) => group[key])).map((v) => [v, v])];
    const selected = all.filter((group) => matches(state.family, group.family) && matches(state.level, group.level)
      && matches(state.outcome, outcome(group)));
    state.question = Math.max(0, Math.min(state.question, selected.length - 1));
    const bar = make("div", { class: "controls" }, ...controls(state, show),
      filter("Family", "family", optionsOf("family")), filter("Level", "level", optionsOf("level")),
      filter("Outcome", "outcome", OUTCOMES));
    const none = make("p", { class: "empty" }, "No question on this page matches the filters.");
    const focused = [...root.querySelectorAll("select, button")].indexOf(document.activeElement);
    const scrolled = root.querySelector(".list")?.scrollTop ?? 0;
    root.replaceChildren(bar, selected.length ? draw(selected, state, show) : none);
    root.querySelector(".list")?.scrollTo(0, scrolled);
    if (focused >= 0) root.querySelectorAll("select, button")[focused]?.focus({ preventScroll: true });
  }
  show({});
}

function pick(current, click, ...children) {
  return make("button", { "aria-current": String(current), click }, ...children);
}

function drawRollouts(groups, state, show) {
  const group = groups[state.question];
  const rows = group.completions;
  const row = rows[Math.min(state.sample, rows.length - 1)];
  const list = groups.map((other, i) => pick(other === group, () => show({ question: i, sample: 0 }),
    make("span", { class: "clamp" }, other.question ?? other.prompt_id),
    make("span", { class: "dots" }, ...other.completions.map(mark))));
  const chips = rows.map((other, i) => pick(other === row, () => show({ sample: i }),
    mark(other), ` ${short(other.reward)} (${signed(other.advantage)})`));
  const count = group.of > rows.length ? `${rows.length} of ${group.of} completions` : `${rows.length} completions`;
  const prompt = group.prompt
    ? make("details", {}, make("summary", {}, "Prompt, as the model saw it"), make("pre", {}, group.prompt))
    : null;
  return make("div", { class: "split" }, make("div", { class: "list" }, ...list),
    make("div", { class: "card" }, make("h4", {}, group.question ?? group.prompt_id), about(group),
      make("small", {}, `${count}: reward (advantage)`), make("div", { class: "chips" }, ...chips),
      completion(row), prompt));
}

function drawAnswers(questions, state, show) {
  const question = questions[state.question];
  const count = questions.length;
  const most = Math.max(...Object.values(question.answers).map((rows) => rows.length));
  const move = (by) => () => show({ question: (state.question + by + count) % count, sample: 0 });
  const next = () => show({ sample: (state.sample + 1) % most });
  const columns = Object.entries(question.answers).map(([stage, rows]) => {
    const row = rows[Math.min(state.sample, rows.length - 1)];
    return make("div", { class: "card" }, make("h4", {}, mark(row), ` ${stage}`), completion(row));
  });
  const chips = make("div", { class: "chips" },
    make("button", { click: move(-1) }, "← Previous"), make("button", { click: move(1) }, "Next →"),
    most > 1 ? make("button", { click: next }, `Answer ${state.sample + 1} of ${most}: show the next`) : null,
    make("small", {}, `question ${state.question + 1} of ${count}`));
  return make("div", {}, make("div", { class: "card" }, make("h4", {}, question.question), about(question), chips),
    make("div", { class: "columns" }, ...columns));
}

function startRollouts(root) {
  const stages = Object.keys(data.rollouts);
  const stageOf = (state) => state.stage ?? stages.at(-1);
  const steps = (state) => Object.keys(data.rollouts[stageOf(state)]);
  const stepOf = (state) => (steps(state).includes(state.step) ? state.step : steps(state).at(-1));
  const first = { question: 0, sample: 0 };
  const controls = (state, show) => [
    choice("Stage", stages.map((s) => [s, s]), stageOf(state), (stage) => show({ stage, ...first })),
    choice("Step", steps(state).map((s) => [s, `step ${short(Number(s))}`]), stepOf(state), (step) => show({ step, ...first })),
  ];
  browser(root, controls, (state) => data.rollouts[stageOf(state)][stepOf(state)], drawRollouts);
}

function startAnswers(root) {
  const names = [...new Set(data.questions.map((question) => question.benchmark))];
  const nameOf = (state) => state.benchmark ?? names[0];
  const controls = (state, show) => [
    choice("Benchmark", names.map((name) => [name, name]), nameOf(state),
      (benchmark) => show({ benchmark, question: 0, sample: 0 })),
  ];
  browser(root, controls, (state) => data.questions.filter((q) => q.benchmark === nameOf(state)), drawAnswers);
}

const starts = { rollouts: startRollouts, questions: startAnswers };
for (const root of document.querySelectorAll(".browser")) starts[root.dataset.browser](root);
