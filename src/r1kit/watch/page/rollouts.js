import { ANSWERS, FIRST, choice, groupCard, questionList } from "../report/browser.js";
import { make, short } from "../report/parts.js";
import { getJson, ofStage } from "./api.js";
import { createHistory } from "./history.js";
import { latestStage } from "./runs.js";

// The completions of a step: filtered and searched by the server, which sends texts of one question at a time.

const hasRollouts = (stage) => stage.rollouts > 0;
const TYPING = 300; // milliseconds without a key before a search starts

export function createRollouts() {
  const controls = document.getElementById("rollout-controls");
  const list = document.getElementById("rollout-list");
  const state = { run: null, stage: null, step: null, answer: "", search: "", ...FIRST }; // step null: the newest
  let view = null;
  let stage = null; // whose completions are shown
  let data = null; // of the step
  let shown = ""; // what `data` is of
  let asked = 0; // requests for it
  let isRead = false; // somebody has chosen a question, so a new step does not replace it by itself
  const history = createHistory(document.getElementById("problem"), (step, problem) => {
    state.search = problem;
    search.value = problem;
    set({ step });
    list.scrollIntoView({ block: "nearest" });
  });

  const search = make("input", { type: "search", placeholder: "in questions and answers", maxlength: "200" });
  let typing = null;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => set({ search: search.value }), TYPING);
  });
  const step = make("input", { type: "number", min: "0", change: () => set({ step: Number(step.value) }) });
  const button = (text, label, click) => make("button", { type: "button", "aria-label": label, click }, text);
  const previous = button("←", "step before", () => set({ step: data.previous }));
  const next = button("→", "step after", () => set({ step: data.next ?? null }));
  const newest = button("newest", "newest step", () => set({ step: null }));
  const steps = make("div", { class: "steps" }, make("label", {}, "Step", step), previous, next, newest);
  const stages = make("span", {});
  const answers = make("span", {});
  const found = make("label", {}, "Search", search);
  const waiting = make("p", { class: "waiting", role: "status" });
  controls.append(stages, steps, answers, found);
  controls.after(waiting);

  function set(change) {
    Object.assign(state, FIRST, change);
    isRead = false;
    update().catch(fail);
  }

  function fail(error) {
    waiting.textContent = error.message;
  }

  function fillControls() {
    stages.replaceChildren(...[choice("Stage", view.run.stages.filter(hasRollouts).map((each) => [each.name, each.name]),
      stage.name, (name) => set({ stage: name, step: null }))].filter(Boolean));
    const count = (key) => (key === "" ? data.counts[""] : data.counts[key]);
    const options = Object.entries(ANSWERS).filter(([key]) => key === state.answer || count(key) > 0)
      .map(([key, [text]]) => [key, `${text} (${short(count(key))})`]);
    answers.replaceChildren(choice("Answers", options, state.answer, (answer) => set({ answer })) ?? "");
    step.value = String(data.step);
    previous.disabled = data.previous === data.step;
    next.disabled = data.next === null;
    newest.setAttribute("aria-pressed", String(state.step === null));
  }

  // Fetch the groups of the step, if they are not those that are shown, and draw them.
  async function update() {
    const query = { step: state.step, answer: state.answer, search: state.search };
    const key = JSON.stringify([view.number, stage.name, stage.newest, query]);
    if (key === shown) return;
    const path = ofStage(view.number, stage.name, "rollouts");
    const mine = ++asked;
    const received = await getJson(path, query);
    if (mine !== asked) return; // something else has been chosen meanwhile
    shown = key;
    data = received;
    waiting.textContent = "";
    keepFocus(controls, fillControls);
    draw();
  }

  // Redraw elements that may have the focus, and give it to the one in the same place.
  function keepFocus(root, redraw) {
    const elements = () => [...root.querySelectorAll("select, button, input")];
    const focused = elements().indexOf(document.activeElement);
    redraw();
    if (focused >= 0) elements()[focused]?.focus({ preventScroll: true });
  }

  function draw() {
    keepFocus(list, () => {
      const scrolled = list.querySelector(".list")?.scrollTop ?? 0;
      if (!data.groups.length) {
        list.replaceChildren(make("p", { class: "empty" }, "No completion of this step matches the filters."));
        return;
      }
      const show = (change) => {
        isRead = true;
        Object.assign(state, change);
        draw();
      };
      const card = make("div", { class: "card", "aria-busy": "true" });
      const left = data.left_out
        ? make("p", { class: "note" }, `${short(data.left_out)} more questions match: search or filter to see them.`)
        : "";
      const split = make("div", { class: "split" }, questionList(data.groups, state, show), make("div", {}, card));
      list.replaceChildren(split, left);
      list.querySelector(".list")?.scrollTo(0, scrolled);
      loadGroup(data.groups[state.question], card, show).catch((error) => card.replaceChildren(error.message));
    });
  }

  let group = null; // the last one that was fetched, with its key

  async function loadGroup({ prompt_id: problem }, card, show) {
    const key = JSON.stringify([view.number, stage.name, data.step, problem]);
    if (group?.key !== key) {
      const query = { step: data.step, problem };
      group = { key, value: await getJson(ofStage(view.number, stage.name, "group"), query) };
    }
    if (!card.isConnected) return; // something else has been chosen meanwhile
    const follow = make("button", { type: "button", click: () => history.follow(view.number, stage.name, group.value) },
      "Follow this problem over the steps");
    const isFocused = card.parentElement.contains(document.activeElement);
    const filled = groupCard(group.value, state, show);
    filled.append(follow);
    card.replaceWith(filled);
    if (isFocused) follow.focus();
  }

  return {
    // Show the rollouts of the chosen run. A new step replaces the one on the page unless somebody reads in it.
    async show(shownView) {
      view = shownView;
      if (state.run !== view.number) {
        Object.assign(state, { run: view.number, stage: null, step: null, ...FIRST });
        isRead = false;
        history.close();
      }
      stage = view.run.stages.find((each) => each.name === state.stage && hasRollouts(each))
        ?? latestStage(view.run, hasRollouts);
      controls.hidden = !stage;
      if (!stage) {
        shown = "";
        list.replaceChildren(make("p", { class: "empty" }, "No rollouts have been kept yet."));
        return;
      }
      if (isRead && state.step === null && data && stage.newest > data.step) {
        waiting.replaceChildren(`Step ${short(stage.newest)} has been logged. `,
          button("Show it", `show step ${stage.newest}`, () => set({ step: null })));
        return;
      }
      await update();
    },
  };
}
