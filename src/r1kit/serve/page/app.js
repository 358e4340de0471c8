// The page: what the reader does, and the conversation that follows from it.

import { ApiError, hasKey, listModels, setKey } from "./api.js";
import { again, ask, newTurn, requestOf } from "./conversation.js";
import { decode, encode } from "./link.js";
import { fillSettings, readSettings, reportInvalid, startSettings } from "./settings.js";
import { startTheme } from "./theme.js";
import { showTurn } from "./views.js";

const EXAMPLES = ["What is 37 + 48?", "Which is larger, 9.11 or 9.9?", "Make 24 from 3, 4, 5 and 7."];
const SPOKEN = 1500; // characters of an answer that a screen reader reads by itself
const NARROW = matchMedia("(max-width: 48rem)"); // as in page.css
const $ = (id) => document.getElementById(id);

let models = new Map(); // by name, as the server describes them
let turns = [];
let running = null; // the AbortController of the answers that are streamed
let starting = null; // the promise of start() while the server is asked for its models

/** Ask a turn as the last one, or in place of turn `index`; return whether all answers are complete. */
async function run(turn, index = turns.length) {
  const alone = (name) => !readsConversations(name) && (index > 0 || "system" in turn.settings);
  const { element, views } = showTurn(turn, {
    note: (name) => (alone(name) ? "sees only this question" : ""),
    retry: () => running || run(again(turn), index),
    again: () => running || run(again(turn, turn.settings.seed), index),
    link: () => share(index),
    results: (results) => running || run(newTurn("", turn.models, turn.settings, results)),
    copy: (text) => copy(text, "Answer copied."),
  });
  if (index < turns.length) $("turns").children[index].replaceWith(element);
  else $("turns").append(element);
  turns[index] = turn;
  $("welcome").hidden = true;
  if (NARROW.matches) showSettings(false); // they would cover the answer
  $("conversation").scrollTop = $("conversation").scrollHeight;
  setRunning(new AbortController());
  const { signal } = running;
  await Promise.all(turn.answers.map((answer, column) => {
    const tell = speaker(answer, views[column].element);
    return ask(answer, requestOf(turns, index, column, readsConversations(answer.model)), signal, () => {
      views[column].changed();
      tell();
    });
  }));
  if (running?.signal === signal) setRunning(null);
  const called = turn.answers.every(({ state, calls }) => state === "done" && calls.length);
  element.querySelector(".send-results").hidden = !called;
  if (turn.answers.some(({ problem }) => problem?.status === 401) && (await askForKey())) {
    return run(again(turn, turn.settings.seed), index);
  }
  return turn.answers.every(({ state }) => state === "done");
}

function setRunning(controller) {
  const stopped = document.activeElement === $("stop");
  running = controller;
  $("stop").hidden = !controller;
  $("send").hidden = Boolean(controller);
  if (stopped) $("question").focus();
}

/** Return a function that tells a screen reader when an answer enters another state, and reads it at its end. */
function speaker(answer, element) {
  let last = answer.state;
  return () => {
    if (answer.state === last) return;
    last = answer.state;
    const outcome = { thinking: "is thinking.", answering: "is answering.", stopped: "stopped.", failed: "failed: " }[last];
    const text = last === "failed" ? answer.problem.message : "";
    const called = answer.calls.map((call) => ` It calls ${call.function.name}.`).join("");
    const words = outcome ? `${outcome}${text}` : `says: ${element.querySelector(".content").innerText.slice(0, SPOKEN)}${called}`;
    $("spoken").textContent = `${answer.model} ${words}`;
  };
}

async function askFromForm() {
  const question = $("question").value.trim();
  if (!question || running) return;
  const settings = readSettings();
  if (!settings) {
    showSettings(true);
    reportInvalid();
    return;
  }
  const names = [$("model").value, $("other").value].filter(Boolean);
  if (!names.length) { // a question may come before the list of models
    if ((await start()) && $("model").value) askFromForm();
    return;
  }
  $("question").value = "";
  notify("");
  run(newTurn(question, names, settings));
}

/** Whether a model gets the system prompt and earlier turns: its prompt template may have room for a question only. */
function readsConversations(name) {
  return models.get(name)?.conversations ?? true;
}

function startAgain() {
  running?.abort();
  turns = [];
  $("turns").replaceChildren();
  $("welcome").hidden = false;
  notify("");
  $("question").focus();
}

/** Put the link to a turn into the address bar and the clipboard. */
function share(index) {
  const asked = turns.slice(0, index + 1);
  history.replaceState(null, "", encode(asked));
  const stopped = asked.slice(0, -1).some((turn) => turn.answers.some(({ state }) => state !== "done"));
  copy(location.href, stopped ? "Link copied. An earlier answer is incomplete here; the link asks for all of it." : "Link copied.");
}

async function copy(text, message) {
  try {
    await navigator.clipboard.writeText(text);
    notify(message);
  } catch { // browsers allow this to local and encrypted pages only
    notify(text === location.href ? "The link is in the address bar." : "This browser allows no copying; select the text.");
  }
}

/** Ask what the address bar's link asks, one question after the other. */
async function openLink() {
  if (!location.hash.includes("=")) return; // a place on the page
  let asked;
  try {
    asked = decode(location.hash);
  } catch (error) {
    return notify(error.message);
  }
  startAgain();
  const { models: [model, other = ""], settings } = asked.at(-1);
  $("model").value = model;
  $("other").value = other;
  fillSettings({ max_tokens: null, system: "", tools: "", ...settings, seed: null });
  for (const turn of asked) {
    if (!(await run(newTurn(turn.question, turn.models, turn.settings, turn.results)))) return;
  }
}

/** Show the dialog for an API key; return whether the reader gave one. */
async function askForKey() {
  const dialog = $("key");
  const field = dialog.querySelector("input");
  field.value = "";
  dialog.querySelector(".refused").hidden = !hasKey();
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (dialog.returnValue !== "ok") return false;
  setKey(field.value.trim());
  return true;
}

function notify(text) {
  $("notice").textContent = text;
}

function showSettings(open) {
  $("settings").hidden = !open;
  $("adjust").setAttribute("aria-expanded", String(open));
}

function listen() {
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    askFromForm();
  });
  $("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    askFromForm();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && running) running.abort();
    if (event.key !== "/" || event.target.matches("input, textarea, select")) return;
    event.preventDefault();
    $("question").focus();
  });
  $("stop").addEventListener("click", () => running?.abort());
  $("new").addEventListener("click", () => {
    startAgain();
    history.replaceState(null, "", location.pathname);
  });
  $("adjust").addEventListener("click", () => showSettings($("settings").hidden));
  window.addEventListener("hashchange", openLink);
  for (const example of EXAMPLES) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: example });
    button.addEventListener("click", () => {
      $("question").value = example;
      askFromForm();
    });
    document.querySelector(".examples").append(button);
  }
}

/** Fill the lists of models; return whether the server gave them. */
function start() {
  starting ??= fillModels().finally(() => { starting = null; });
  return starting;
}

async function fillModels() {
  try {
    models = await listModels();
    const options = () => [...models.keys()].map((name) => new Option(name, name));
    $("model").replaceChildren(...options());
    $("other").replaceChildren(new Option("Compare with…", ""), ...options());
    notify("");
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return (await askForKey()) && fillModels();
    notify(`${error.message} Check that r1kit serve runs, then reload this page.`);
    return false;
  }
}

startTheme($("theme"));
startSettings();
listen();
if (await start()) await openLink();
