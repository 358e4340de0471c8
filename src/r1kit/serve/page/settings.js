// The settings form, and what is remembered of it in this browser.

import { parseJson } from "./link.js";

const STORED = "r1kit-chat";
const DEFAULTS = { temperature: 0.6, top_p: 0.95, max_tokens: null, seed: null, system: "", tools: "", unfolded: false };

const form = document.querySelector("#settings form");

/** Fill the form with remembered settings, and remember changes, except of the seed. */
export function startSettings() {
  fillSettings({ ...DEFAULTS, ...JSON.parse(localStorage.getItem(STORED) ?? "{}"), seed: null });
  form.addEventListener("change", () => {
    if (form.checkValidity()) localStorage.setItem(STORED, JSON.stringify({ ...readSettings(), unfolded: keepsUnfolded() }));
  });
  form.elements.tools.addEventListener("input", checkTools);
  form.addEventListener("submit", (event) => event.preventDefault());
}

/** Show settings in the form. */
export function fillSettings(settings) {
  for (const [name, value] of Object.entries(settings)) {
    const field = form.elements[name];
    if (field?.type === "checkbox") field.checked = value;
    else if (field) field.value = value ?? "";
  }
  checkTools();
}

function checkTools() {
  const { tools } = form.elements;
  const isList = !tools.value.trim() || Array.isArray(parseJson(tools.value));
  tools.setCustomValidity(isList ? "" : "This must be a JSON list: [{\"type\": \"function\", \"function\": {…}}]");
}

/** Return the settings for a question, or null if one is invalid; the form then says which. */
export function readSettings() {
  if (!form.checkValidity()) return null;
  const value = (name) => (form.elements[name].value === "" ? null : form.elements[name].valueAsNumber);
  const names = ["temperature", "top_p", "max_tokens", "seed"];
  const settings = Object.fromEntries(names.map((name) => [name, value(name)]).filter(([, number]) => number !== null));
  const texts = ["system", "tools"].map((name) => [name, form.elements[name].value.trim()]).filter(([, text]) => text);
  return { ...settings, ...Object.fromEntries(texts) };
}

export function reportInvalid() {
  form.reportValidity();
}

export function keepsUnfolded() {
  return form.elements.unfolded.checked;
}
