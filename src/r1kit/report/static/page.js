import { readOut } from "./parts.js";
import { startAnswers, startRollouts } from "./browser.js";

const data = JSON.parse(document.getElementById("data").textContent);

for (const [id, plot] of Object.entries(data.plots)) readOut(document.getElementById(id), () => plot, data.axes);

const starts = {
  rollouts: (root) => startRollouts(root, data.rollouts),
  questions: (root) => startAnswers(root, data.questions),
};
for (const root of document.querySelectorAll(".browser")) starts[root.dataset.browser](root);
