import { FIRST, groupCard, questionList } from "../report/browser.js";
import { make, short } from "../report/parts.js";
import { getJson, ofStage } from "./api.js";
import { createHistory } from "./history.js";
import { button, createControls, keepFocus } from "./rollout-controls.js";
import { latestStage } from "./runs.js";

// The completions of a step: filtered and searched by the server, which sends the texts of one question at a time.

const hasRollouts = (stage) => stage.rollouts > 0;

export function createRollouts() {
  const bar = document.getElementById("rollout-controls");
  const list = document.getElementById("rollout-list");
  const news = make("p", { class: "waiting", role: "status" });
  bar.after(news);
  const state = { run: null, stage: null, step: null, answer: "", search: "", ...FIRST }; // step null: the newest
  const controls = createControls(bar, set);
  const history = createHistory(document.getElementById("problem"), (step, problem) => {
    set({ step, search: problem });
    list.scrollIntoView({ block: "nearest" });
  });
  let view = null;
  let stage = null; // whose completions are shown
  let data = null; // of the step
  let shown = ""; // what `data` is of
  let asked = 0; // requests for it
  let group = null; // the last question whose texts were fetched, with its key
  let isRead = false; // somebody has chosen a question, so a new step does not replace it by itself

  function set(change) {
    Object.assign(state, FIRST, change);
    isRead = false;
    stage = stageOf(view);
    update().catch((error) => news.replaceChildren(error.message));
  }

  const stageOf = ({ run }) => run.stages.find((each) => each.name === state.stage && hasRollouts(each))
    ?? latestStage(run, hasRollouts);

  // Fetch the groups of the step, if they are not those that are shown, and draw them.
  async function update() {
    const query = { step: state.step, answer: state.answer, search: state.search };
    const key = JSON.stringify([view.number, stage.name, stage.newest, query]);
    if (key === shown) return;
    const mine = ++asked;
    const received = await getJson(ofStage(view.number, stage.name, "rollouts"), query);
    if (mine !== asked) return; // something else has been chosen meanwhile
    shown = key;
    data = received;
    news.replaceChildren();
    controls.fill(state, data, view.run.stages.filter(hasRollouts).map((each) => each.name), stage.name);
    keepFocus(list, draw);
  }

  function draw() {
    if (!data.groups.length) {
      list.replaceChildren(make("p", { class: "empty" }, "No completion of this step matches the filters."));
      return;
    }
    const show = (change) => {
      isRead = true;
      Object.assign(state, change);
      keepFocus(list, draw);
    };
    const scrolled = list.querySelector(".list")?.scrollTop ?? 0;
    const card = make("div", { class: "card", "aria-busy": "true" });
    const left = data.left_out
      ? make("p", { class: "note" }, `${short(data.left_out)} more questions match: search or filter to see them.`)
      : "";
    const questions = questionList(data.groups, state, show);
    list.replaceChildren(make("div", { class: "split" }, questions, make("div", {}, card)), left);
    list.querySelector(".list").scrollTo(0, scrolled);
    drawGroup(data.groups[state.question].prompt_id, card, show).catch((error) => card.replaceChildren(error.message));
  }

  // Replace the empty card by that of a question. If its texts are known, that happens at once and focus can stay.
  async function drawGroup(problem, card, show) {
    const key = JSON.stringify([view.number, stage.name, data.step, problem]);
    if (group?.key !== key) {
      const query = { step: data.step, problem };
      group = { key, value: await getJson(ofStage(view.number, stage.name, "group"), query) };
    }
    if (!card.isConnected) return; // something else has been chosen meanwhile
    const filled = groupCard(group.value, state, show);
    filled.append(make("button", { type: "button", click: () => history.follow(view.number, stage.name, group.value) },
      "Follow this problem over the steps"));
    card.replaceWith(filled);
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
      stage = stageOf(view);
      bar.hidden = !stage;
      if (!stage) {
        shown = "";
        list.replaceChildren(make("p", { class: "empty" }, "No rollouts have been kept yet."));
      } else if (isRead && state.step === null && data && stage.newest > data.step) {
        news.replaceChildren(`Step ${short(stage.newest)} has been logged. `,
          button("Show it", `show step ${stage.newest}`, () => set({ step: null })));
      } else {
        await update();
      }
    },
  };
}
