import { ANSWERS, choice } from "../report/browser.js";
import { make, short } from "../report/parts.js";

const TYPING = 300; // milliseconds without a key before a search starts

export const button = (text, label, click) => make("button", { type: "button", "aria-label": label, click }, text);

// Redraw elements that may have the focus, and give it to the one in the same place.
export function keepFocus(root, redraw) {
  const elements = () => [...root.querySelectorAll("select, button, input")];
  const focused = elements().indexOf(document.activeElement);
  redraw();
  if (focused >= 0) elements()[focused]?.focus({ preventScroll: true });
}

// The controls of the rollouts: stage, step, filter and search. They call `set` with what somebody has chosen.
export function createControls(root, set) {
  let shown = null; // the answer of the server
  let typing = null;
  const search = make("input", { type: "search", placeholder: "in questions and answers", maxlength: "200" });
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => set({ search: search.value }), TYPING);
  });
  const step = make("input", { type: "number", min: "0", change: () => set({ step: Number(step.value) }) });
  const previous = button("←", "step before", () => set({ step: shown.previous }));
  const next = button("→", "step after", () => set({ step: shown.next }));
  const newest = button("newest", "newest step", () => set({ step: null }));
  const stages = make("span", {});
  const answers = make("span", {});
  root.append(stages, make("div", { class: "steps" }, make("label", {}, "Step", step), previous, next, newest),
    answers, make("label", {}, "Search", search));

  function fill(state, data, stageNames, stageName) {
    shown = data;
    stages.replaceChildren(choice("Stage", stageNames.map((name) => [name, name]), stageName,
      (stage) => set({ stage, step: null })) ?? "");
    const options = Object.entries(ANSWERS).filter(([key]) => key === state.answer || data.counts[key] > 0)
      .map(([key, [text]]) => [key, `${text} (${short(data.counts[key])})`]);
    answers.replaceChildren(choice("Answers", options, state.answer, (answer) => set({ answer })) ?? "");
    step.value = String(data.step);
    previous.disabled = data.previous === data.step;
    next.disabled = data.next === null;
    newest.setAttribute("aria-pressed", String(state.step === null));
    if (document.activeElement !== search) search.value = state.search;
  }

  return { fill: (...given) => keepFocus(root, () => fill(...given)) };
}
