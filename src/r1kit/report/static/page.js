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
  const scale = plot.log ? Math.log2 : Number;
  const at = (x) => (scale(x) - scale(low)) / (scale(high) - scale(low)); // share of the axis
  box.addEventListener("pointermove", (event) => {
    const share = (event.clientX - box.getBoundingClientRect().left) / box.clientWidth;
    const pointed = (share - left) / (right - left);
    let best = 0;
    plot.x.forEach((x, i) => {
      if (Math.abs(at(x) - pointed) < Math.abs(at(plot.x[best]) - pointed)) best = i;
    });
    const values = names
      .filter((name) => plot.y[name][best] !== null)
      .map((name) => (names.length > 1 ? `${name.split("/").pop()} ` : "") + short(plot.y[name][best]));
    line.style.left = `${100 * (left + at(plot.x[best]) * (right - left))}%`;
    line.style.display = "block";
    output.textContent = `${plot.name ?? "step"} ${short(plot.x[best])}: ${values.join(" · ")}`;
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

const FIRST = { question: 0, sample: null }; // the first question, and the completion that `shown` chooses
const unique = (values) => [...new Set(values.map((value) => String(value ?? "")))]
  .filter((value) => value !== "" && value !== "0")
  .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
const matches = (filter, value) => filter === "" || String(value) === filter;
const OUTCOMES = [["", "every outcome"], ["right", "all correct"], ["mixed", "some correct"], ["wrong", "none correct"]];
const ANSWERS = {
  "": ["every answer", () => true],
  right: ["right", (row) => row.correct === true],
  wrong: ["wrong", (row) => row.correct === false],
  cut: ["cut off", (row) => row.finish_reason === "length"],
  unparsed: ["unparsed", (row) => row.correct !== undefined && row.extracted === undefined],
};

const rowsOf = (group) => group.completions ?? Object.values(group.answers).flat();

function outcome(group) {
  const rows = rowsOf(group);
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

// The completion to show: the chosen one, or the first that passes the filter of answers.
function shown(rows, state) {
  const first = Math.max(0, rows.findIndex(ANSWERS[state.answer][1]));
  return rows[Math.min(state.sample ?? first, rows.length - 1)];
}

// Fill `root` with controls and the selected question.
// `controls(state, show)` returns selects that come before the filters, `select(state)` the questions they select, and
// `draw(questions, state, show)` the element for the questions that pass the filters. `show(change)` updates the state
// and redraws.
function browser(root, controls, select, draw) {
  const state = { family: "", level: "", outcome: "", answer: "", ...FIRST };
  function show(change) {
    Object.assign(state, change);
    const all = select(state);
    for (const key of ["family", "level"]) if (!all.some((group) => matches(state[key], group[key]))) state[key] = "";
    const filter = (name, key, options) =>
      choice(name, options, state[key], (value) => show({ [key]: value, ...FIRST }));
    const optionsOf = (key) => [["", `every ${key}`], ...unique(all.map((group) => group[key])).map((v) => [v, v])];
    const selected = all.filter((group) => matches(state.family, group.family) && matches(state.level, group.level)
      && matches(state.outcome, outcome(group)) && rowsOf(group).some(ANSWERS[state.answer][1]));
    const answers = Object.entries(ANSWERS).filter(([key, [, test]]) =>
      key === state.answer || key === "" || all.some((group) => rowsOf(group).some(test)));
    state.question = Math.max(0, Math.min(state.question, selected.length - 1));
    const bar = make("div", { class: "controls" }, ...controls(state, show),
      filter("Family", "family", optionsOf("family")), filter("Level", "level", optionsOf("level")),
      filter("Outcome", "outcome", OUTCOMES), filter("Answers", "answer", answers.map(([key, [text]]) => [key, text])));
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

// The list of questions, with the outcomes of their completions.
function questionList(groups, state, show) {
  return make("div", { class: "list" }, ...groups.map((group, i) =>
    pick(i === state.question, () => show({ ...FIRST, question: i }),
      make("span", { class: "clamp" }, group.question ?? group.prompt_id),
      make("span", { class: "dots" }, ...rowsOf(group).map(mark)))));
}

function drawRollouts(groups, state, show) {
  const group = groups[state.question];
  const rows = group.completions;
  const row = shown(rows, state);
  const chips = rows.map((other, i) => pick(other === row, () => show({ sample: i }),
    mark(other), ` ${short(other.reward)} (${signed(other.advantage)})`));
  const count = group.of > rows.length ? `${rows.length} of ${group.of} completions` : `${rows.length} completions`;
  const prompt = group.prompt
    ? make("details", {}, make("summary", {}, "Prompt, as the model saw it"), make("pre", {}, group.prompt))
    : null;
  return make("div", { class: "split" }, questionList(groups, state, show),
    make("div", { class: "card" }, make("h3", {}, group.question ?? group.prompt_id), about(group),
      make("small", {}, `${count}: reward (advantage)`), make("div", { class: "chips" }, ...chips),
      completion(row), prompt));
}

function drawAnswers(questions, state, show) {
  const question = questions[state.question];
  const most = Math.max(...Object.values(question.answers).map((rows) => rows.length));
  const columns = Object.entries(question.answers).map(([stage, rows]) => {
    const row = shown(rows, state);
    const which = rows.length > 1 ? `, answer ${rows.indexOf(row) + 1} of ${rows.length}` : "";
    return make("div", { class: "card" }, make("h3", {}, mark(row), ` ${stage}${which}`), completion(row));
  });
  const chips = most > 1
    ? make("div", { class: "chips" }, ...Array.from({ length: most }, (_, i) =>
      pick(state.sample === i, () => show({ sample: i }), `Answer ${i + 1}`)))
    : null;
  return make("div", { class: "split" }, questionList(questions, state, show),
    make("div", {}, make("div", { class: "card" }, make("h3", {}, question.question), about(question), chips),
      make("div", { class: "columns" }, ...columns)));
}

function startRollouts(root) {
  const stages = Object.keys(data.rollouts);
  const stageOf = (state) => state.stage ?? stages.at(-1);
  const steps = (state) => Object.keys(data.rollouts[stageOf(state)]);
  const stepOf = (state) => (steps(state).includes(state.step) ? state.step : steps(state).at(-1));
  const controls = (state, show) => [
    choice("Stage", stages.map((s) => [s, s]), stageOf(state), (stage) => show({ stage, ...FIRST })),
    choice("Step", steps(state).map((s) => [s, `step ${short(Number(s))}`]), stepOf(state), (step) => show({ step, ...FIRST })),
  ];
  browser(root, controls, (state) => data.rollouts[stageOf(state)][stepOf(state)], drawRollouts);
}

function startAnswers(root) {
  const names = [...new Set(data.questions.map((question) => question.benchmark))];
  const stages = [...new Set(data.questions.flatMap((question) => Object.keys(question.answers)))];
  const nameOf = (state) => state.benchmark ?? names[0];
  const controls = (state, show) => [
    choice("Benchmark", names.map((name) => [name, name]), nameOf(state), (benchmark) => show({ benchmark, ...FIRST })),
    choice("Model", stages.length > 1 ? [["", "every model"], ...stages.map((stage) => [stage, stage])] : [],
      state.stage ?? "", (stage) => show({ stage, ...FIRST })),
  ];
  const select = (state) => data.questions
    .filter((question) => question.benchmark === nameOf(state) && (!state.stage || question.answers[state.stage]))
    .map((question) => (state.stage
      ? { ...question, answers: { [state.stage]: question.answers[state.stage] } }
      : question));
  browser(root, controls, select, drawAnswers);
}

const starts = { rollouts: startRollouts, questions: startAnswers };
for (const root of document.querySelectorAll(".browser")) starts[root.dataset.browser](root);
