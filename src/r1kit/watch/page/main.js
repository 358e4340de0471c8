import { getJson } from "./api.js";
import { createCurves } from "./curves.js";
import { createRollouts } from "./rollouts.js";
import { createRuns } from "./runs.js";
import { createSections } from "./sections.js";

const PAUSE = 2000; // milliseconds between two questions, or REST times as long as the answers took, up to LONGEST
const REST = 4;
const LONGEST = 10_000;

const connection = document.getElementById("connection");
const parts = [createSections(), createCurves(), createRollouts()];
const runs = createRuns(document.getElementById("runs"), () => poll());

// Ask how far the runs are, and let every part of the page fetch what has changed for it.
async function update() {
  const progress = await getJson("api/runs");
  const view = runs.show(progress);
  document.title = `${view.run.name} - r1kit watch`;
  await Promise.all(parts.map((part) => part.show(view)));
}

let timer = null;
let isAsking = false;
let again = false; // somebody has chosen something while the server was asked

async function poll() {
  again = isAsking;
  if (isAsking) return;
  isAsking = true;
  clearTimeout(timer);
  const start = performance.now();
  try {
    await update();
    connection.textContent = "";
  } catch (error) {
    connection.textContent = `${error.message} Trying again.`;
  }
  isAsking = false;
  const took = performance.now() - start;
  const pause = again ? 0 : Math.max(PAUSE, Math.min(REST * took, LONGEST));
  if (!document.hidden) timer = setTimeout(poll, pause);
}

document.addEventListener("visibilitychange", () => document.hidden || poll());
poll();
