// Shows turns and answers: fills the templates of index.html and follows answers while they are streamed.

import { isRunning } from "./conversation.js";
import { showMarkdown, visible } from "./markdown.js";
import { keepsUnfolded } from "./settings.js";

const PAUSE = 4; // times the duration of the last update: long answers are shown less often
const NEAR_END = 120; // pixels
const ANSWERS = { 0: "Check that `r1kit serve` runs, then try again.", 429: "Try again later." };

function fill(id) {
  const { content } = document.getElementById(id);
  return content.firstElementChild.cloneNode(true);
}

/** Return the element of a turn and a view for each answer. `on` has the handlers of its buttons, and notes on models. */
export function showTurn(turn, on) {
  const element = fill("turn");
  const asked = turn.results ? `Result: ${turn.results.flat().join("\nResult: ")}` : turn.question;
  element.querySelector(".question").textContent = visible(asked);
  element.classList.toggle("compared", turn.answers.length > 1);
  element.querySelector(".retry").addEventListener("click", on.retry);
  element.querySelector(".link").addEventListener("click", on.link);
  const views = turn.answers.map((answer) => new AnswerView(answer, turn.settings.seed, on));
  element.querySelector(".send-results").addEventListener("click", () => on.results(views.map((view) => view.results())));
  element.querySelector(".answers").append(...views.map((view) => view.element));
  return { element, views };
}

class AnswerView {
  constructor(answer, seed, on) {
    Object.assign(this, { answer, seed });
    this.element = fill("answer");
    this.find = (selector) => this.element.querySelector(selector);
    this.thinking = this.find(".thinking");
    this.thinking.open = true;
    this.find(".model").textContent = [answer.model, on.note(answer.model)].filter(Boolean).join(" · ");
    this.find("summary").addEventListener("click", () => { this.chosen = true; });
    this.thinking.addEventListener("toggle", () => this.update());
    this.find(".again").addEventListener("click", on.again);
    this.find(".copy").addEventListener("click", () => on.copy(answer.content));
    this.clock = setInterval(() => this.changed(), 500); // the time passes also while no token arrives
    this.render();
  }

  /** Show what has changed, soon. */
  changed() {
    if (!isRunning(this.answer)) {
      clearInterval(this.clock);
      clearTimeout(this.timer);
      this.timer = null;
      return this.update();
    }
    this.timer ??= setTimeout(() => {
      const start = performance.now();
      this.update();
      this.busy = performance.now() - start;
      this.timer = null;
    }, Math.max(30, PAUSE * (this.busy ?? 0)));
  }

  update() {
    keepAtEnd(document.querySelector("main"), () => this.render());
  }

  render() {
    const { answer } = this;
    const running = isRunning(answer);
    for (const state of ["waiting", "thinking"]) this.element.classList.toggle(`is-${state}`, answer.state === state);
    this.element.classList.toggle("is-running", running);
    this.element.setAttribute("aria-busy", String(running));
    this.renderReasoning();
    showMarkdown(this.find(".content"), answer.content);
    this.renderCalls();
    this.renderProblem();
    this.find(".facts span").textContent = running ? "" : facts(answer, this.seed);
    this.find(".copy").hidden = !answer.content;
  }

  renderReasoning() {
    const { answer, thinking } = this;
    thinking.hidden = !answer.reasoning;
    if (thinking.hidden) return;
    const isThinking = answer.state === "thinking";
    if (!isThinking && !this.chosen && !this.folded) {
      this.folded = true;
      thinking.open = keepsUnfolded();
    }
    const seconds = answer.thoughtFor ?? answer.seconds ?? (performance.now() - answer.started) / 1000;
    const tokens = answer.usage?.completion_tokens_details?.reasoning_tokens;
    this.find(".thought").textContent = isThinking ? "Thinking" : "Thought";
    this.find(".amount").textContent = [`${isThinking ? "" : "for "}${time(seconds)}`, tokens && count(tokens)].filter(Boolean).join(" · ");
    if (!thinking.open) return;
    const box = this.find(".reasoning");
    keepAtEnd(box, () => showMarkdown(box, answer.reasoning));
  }

  /** Show calls as text, each with a field for its result. */
  renderCalls() {
    const list = this.find(".calls");
    for (const { function: { name } } of this.answer.calls.slice(list.children.length)) {
      const item = fill("call");
      item.querySelector("code").textContent = name;
      item.querySelector("pre").setAttribute("aria-label", `Arguments of ${name}`);
      list.append(item);
    }
    for (const [index, item] of [...list.children].entries()) {
      item.querySelector("pre").textContent = visible(this.answer.calls[index].function.arguments);
    }
    list.hidden = !list.children.length;
  }

  /** Return what was typed as the results of the calls. */
  results() {
    return [...this.element.querySelectorAll(".call textarea")].map((field) => field.value);
  }

  renderProblem() {
    const { problem, text } = problemOf(this.answer);
    this.find(".problem").hidden = !text;
    this.find(".problem").classList.toggle("mild", !problem);
    this.find(".problem span").textContent = text;
    this.find(".again").hidden = !problem;
  }
}

/** Change what is in a box that scrolls; a reader who is at its end stays there. */
function keepAtEnd(box, change) {
  const left = box.scrollHeight - box.scrollTop - box.clientHeight;
  change();
  if (left < NEAR_END) box.scrollTop = box.scrollHeight;
}

/** Return what kept an answer from being complete, as text, and whether it is a failure. */
function problemOf({ state, retryAt, problem, finish, usage }) {
  if (retryAt !== null) {
    const left = Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
    return { problem: false, text: `The server is full. Asking again in ${left} s; Esc stops.` };
  }
  if (state === "failed") return { problem: true, text: `${problem.message} ${ANSWERS[problem.status] ?? ""}`.trim() };
  if (state === "stopped") return { problem: false, text: "Stopped." };
  if (finish !== "length") return { problem: false, text: "" };
  return { problem: false, text: `Cut off after ${count(usage?.completion_tokens ?? 0)}: raise “Maximum tokens” for more.` };
}

function facts({ usage, seconds }, seed) {
  const tokens = usage?.completion_tokens;
  const speed = tokens && `${Math.round(tokens / seconds).toLocaleString("en")} tokens/s`;
  return [tokens && count(tokens), time(seconds), speed, `seed ${seed}`].filter(Boolean).join(" · ");
}

function count(tokens) {
  return `${tokens.toLocaleString("en")} token${tokens === 1 ? "" : "s"}`;
}

function time(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 60 ? `${Math.round(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
