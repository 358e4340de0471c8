import { about, completion, facts, make, mark, short, signed } from "./parts.js";

// Browsers of completions: controls, a list of questions, and the selected one.

export const FIRST = { question: 0, sample: null }; // the first question, and the completion that `shown` chooses
const unique = (values) => [...new Set(values.map((value) => String(value ?? "")))]
  .filter((value) => value !== "" && value !== "0")
  .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
const matches = (filter, value) => filter === "" || String(value) === filter;
const OUTCOMES = [["", "every outcome"], ["right", "all correct"], ["mixed", "some correct"], ["wrong", "none correct"]];
export const ANSWERS = {
  "": ["every answer", () => true],
  right: ["right", (row) => row.correct === true],
  wrong: ["wrong", (row) => row.correct === false],
  cut: ["cut off", (row) => row.finish_reason === "length"],
  mixed: ["mixed language", (row) => row.mixed === true],
  unparsed: ["unparsed", (row) => row.correct !== undefined && row.extracted === undefined],
};

const rowsOf = (group) => group.completions ?? Object.values(group.answers).flat();

function outcome(group) {
  const rows = rowsOf(group);
  const correct = rows.filter((row) => row.correct).length;
  return correct === 0 ? "wrong" : correct === rows.length ? "right" : "mixed";
}

// A labelled <select> of [value, text] pairs, or null if there is only one option.
export function choice(name, options, value, onChange) {
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

export function pick(current, click, ...children) {
  return make("button", { "aria-current": String(current), click }, ...children);
}

// The list of questions, with the outcomes of their completions.
export function questionList(groups, state, show) {
  return make("div", { class: "list" }, ...groups.map((group, i) =>
    pick(i === state.question, () => show({ ...FIRST, question: i }),
      make("span", { class: "clamp" }, group.question ?? group.prompt_id),
      make("span", { class: "dots" }, ...rowsOf(group).map(mark)))));
}

// A group of completions: its question, a button for each completion, and the chosen one.
export function groupCard(group, state, show) {
  const rows = group.completions;
  const row = shown(rows, state);
  const chips = rows.map((other, i) => pick(other === row, () => show({ sample: i }),
    mark(other), ` ${short(other.reward)} (${signed(other.advantage)})`));
  const count = group.of > rows.length ? `${rows.length} of ${group.of} completions` : `${rows.length} completions`;
  const prompt = group.prompt
    ? make("details", {}, make("summary", {}, "Prompt, as the model saw it"), make("pre", {}, group.prompt))
    : null;
  return make("div", { class: "card" }, make("h3", {}, group.question ?? group.prompt_id), about(group),
    make("small", {}, `${count}: reward (advantage)`), make("div", { class: "chips" }, ...chips),
    completion(row), prompt);
}

function drawRollouts(groups, state, show) {
  return make("div", { class: "split" }, questionList(groups, state, show),
    groupCard(groups[state.question], state, show));
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

// `rollouts`: {stage: {step: groups}}
export function startRollouts(root, rollouts) {
  const stages = Object.keys(rollouts);
  const stageOf = (state) => state.stage ?? stages.at(-1);
  const steps = (state) => Object.keys(rollouts[stageOf(state)]);
  const stepOf = (state) => (steps(state).includes(state.step) ? state.step : steps(state).at(-1));
  const controls = (state, show) => [
    choice("Stage", stages.map((s) => [s, s]), stageOf(state), (stage) => show({ stage, ...FIRST })),
    choice("Step", steps(state).map((s) => [s, `step ${short(Number(s))}`]), stepOf(state), (step) => show({ step, ...FIRST })),
  ];
  browser(root, controls, (state) => rollouts[stageOf(state)][stepOf(state)], drawRollouts);
}

// `questions`: the problems of the benchmarks, each with the answers of the evaluate stages
export function startAnswers(root, questions) {
  const names = [...new Set(questions.map((question) => question.benchmark))];
  const stages = [...new Set(questions.flatMap((question) => Object.keys(question.answers)))];
  const nameOf = (state) => state.benchmark ?? names[0];
  const controls = (state, show) => [
    choice("Benchmark", names.map((name) => [name, name]), nameOf(state), (benchmark) => show({ benchmark, ...FIRST })),
    choice("Model", stages.length > 1 ? [["", "every model"], ...stages.map((stage) => [stage, stage])] : [],
      state.stage ?? "", (stage) => show({ stage, ...FIRST })),
  ];
  const select = (state) => questions
    .filter((question) => question.benchmark === nameOf(state) && (!state.stage || question.answers[state.stage]))
    .map((question) => (state.stage
      ? { ...question, answers: { [state.stage]: question.answers[state.stage] } }
      : question));
  browser(root, controls, select, drawAnswers);
}
