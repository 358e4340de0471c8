import { startAnswers } from "../report/browser.js";
import { make, readOut } from "../report/parts.js";
import { getJson } from "./api.js";

// The sections that the server renders with the templates of the report. Each is replaced only when its HTML changes.

const PLACES = { // section -> id of its element
  header: "header",
  warnings: "warnings-of-run",
  results: "results",
  sources: "sources",
  notes: "notes-of-run",
};

export function createSections() {
  const shown = {}; // section -> its HTML
  const versions = { changing: "", lasting: "" };
  let known = new Set(); // alerts that have been announced
  let answers = "";

  function place(html) {
    for (const [name, text] of Object.entries(html)) {
      if (shown[name] === text) continue;
      shown[name] = text;
      const root = document.getElementById(PLACES[name]);
      const open = [...root.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
      const template = document.createElement("template");
      template.innerHTML = text; // rendered by the server, which escapes all values
      root.replaceChildren(template.content);
      for (const summary of root.querySelectorAll("details > summary")) {
        summary.parentElement.open = open.includes(summary.textContent);
      }
    }
  }

  async function showChanging({ number, run }) {
    const version = `${number} ${run.rows} ${run.files} ${run.state}`;
    if (versions.changing === version) return;
    const { html, alerts } = await getJson(`api/runs/${number}/changing`);
    place(html);
    const fresh = alerts.filter((alert) => !known.has(alert));
    document.getElementById("news").textContent = fresh.length ? `Warning: ${fresh.join(". ")}` : "";
    known = new Set(alerts);
    versions.changing = version;
  }

  async function showLasting({ number, run }) {
    const version = `${number} ${run.files}`;
    if (versions.lasting === version) return;
    const { html, plots, axes } = await getJson(`api/runs/${number}/lasting`);
    const isChanged = html.results !== shown.results;
    place(html);
    if (isChanged) {
      for (const [id, plot] of Object.entries(plots)) readOut(document.getElementById(id), () => plot, axes);
    }
    showAnswers(await getJson(`api/runs/${number}/answers`));
    versions.lasting = version;
  }

  function showAnswers(questions) {
    const text = JSON.stringify(questions);
    if (text === answers) return;
    answers = text;
    const root = document.getElementById("answer-list");
    if (questions.length) startAnswers(root, questions);
    else root.replaceChildren(make("p", { class: "empty" }, "No answers have been kept yet."));
  }

  return {
    async show(view) {
      await Promise.all([showChanging(view), showLasting(view)]);
    },
  };
}
