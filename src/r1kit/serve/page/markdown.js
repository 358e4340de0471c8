// Turns text that a model writes into nodes. Nothing in it can become active: HTML is shown as text, images as
// links, DOMPurify checks what markdown-it makes, and KaTeX builds nodes without HTML.

import { formulas } from "./formulas.js";

const { DOMPurify, katex, markdownit } = window;
const parser = markdownit("default", { html: false, breaks: true }).use(formulas);
parser.renderer.rules.image = imageAsLink;
const ALLOWED = {
  ALLOWED_TAGS: ("p br hr h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code em strong s a span " +
    "table thead tbody tr th td").split(" "),
  ALLOWED_ATTR: ["href", "class", "start"],
  ALLOWED_URI_REGEXP: /^https?:/i,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const FORMULA = { trust: false, strict: "ignore", maxSize: 20, maxExpand: 500 };

function imageAsLink(tokens, index) {
  const { escapeHtml } = parser.utils;
  const { content, attrs } = tokens[index];
  const source = Object.fromEntries(attrs).src;
  return `<a href="${escapeHtml(source)}">${escapeHtml(content || source)}</a>`;
}

/** Return a text whose order on the screen is that of its characters: what would reverse it is replaced. */
export function visible(text) {
  return text.replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

/** Show a text in Markdown in an element; nodes that stay equal are kept, so that a selection in them lasts. */
export function showMarkdown(element, text) {
  const fragment = DOMPurify.sanitize(visible(parser.render(text)), ALLOWED);
  fragment.querySelectorAll(".formula").forEach(showFormula);
  for (const link of fragment.querySelectorAll("a")) {
    Object.assign(link, { target: "_blank", rel: "noopener noreferrer nofollow", title: link.href });
  }
  for (const block of fragment.querySelectorAll("pre, table, .formula.block")) block.tabIndex = 0; // they may scroll
  let same = 0;
  const old = element.childNodes;
  const fresh = [...fragment.childNodes];
  while (same < old.length && same < fresh.length && old[same].isEqualNode(fresh[same])) same += 1;
  while (old.length > same) element.lastChild.remove();
  element.append(...fresh.slice(same));
}

/** Replace the TeX in an element by its formula; what is no TeX stays, with the reason as its title. */
function showFormula(element) {
  const tex = element.textContent;
  try {
    katex.render(tex, element, { ...FORMULA, displayMode: element.classList.contains("block") });
  } catch (error) {
    element.textContent = tex;
    element.classList.add("bad");
    element.title = error.message;
  }
}
