// A markdown-it plugin for formulas: $..$, $$..$$, \(..\) and \[..\]. An amount of money is no formula.

const INLINE = { "$$": "$$", "$": "$", "\\(": "\\)", "\\[": "\\]" };
const BLOCK = { "$$": "$$", "\\[": "\\]" };
const LONGEST = 5000; // characters of a formula: a text full of opening delimiters is read in linear time

/** Add formulas to a markdown-it parser; they become <span class="formula"> with their TeX as text. */
export function formulas(markdown) {
  markdown.inline.ruler.before("escape", "formula", inlineFormula);
  markdown.block.ruler.before("fence", "formula", blockFormula, { alt: ["paragraph", "list", "blockquote"] });
  markdown.renderer.rules.formula = ([...tokens], index) => {
    const { block, content } = tokens[index];
    return `<span class="formula${block ? " block" : ""}">${markdown.utils.escapeHtml(content)}</span>`;
  };
}

function inlineFormula(state, silent) {
  const { src, pos } = state;
  const open = opening(src, pos, INLINE);
  if (!open) return false;
  const close = INLINE[open];
  const end = closing(src, pos + open.length, close);
  if (end < 0 || end >= state.posMax) return false;
  const tex = src.slice(pos + open.length, end);
  if (!tex.trim() || (open === "$" && !isFormula(tex, src[end + 1]))) return false;
  if (!silent) push(state, tex, open === "$$" || open === "\\[");
  state.pos = end + close.length;
  return true;
}

/** A formula on lines of its own, in which Markdown means nothing: a line may begin with = or -. */
function blockFormula(state, startLine, endLine, silent) {
  const start = state.bMarks[startLine] + state.tShift[startLine];
  const open = opening(state.src, start, BLOCK);
  if (!open) return false;
  const end = closing(state.src, start + open.length, BLOCK[open]);
  if (end < 0 || end >= state.eMarks[endLine - 1]) return false;
  let line = startLine;
  while (state.eMarks[line] < end) line += 1;
  if (state.src.slice(end + 2, state.eMarks[line]).trim(/* a sentence that goes on is inline */)) return false;
  if (silent) return true;
  push(state, state.getLines(startLine, line + 1, state.blkIndent, false).trim().slice(2, -2), true);
  state.line = line + 1;
  return true;
}

function push(state, tex, block) {
  Object.assign(state.push("formula", "", 0), { content: tex.trim(), block });
}

function opening(source, position, pairs) {
  return Object.keys(pairs).find((text) => source.startsWith(text, position));
}

/** Return where the closing delimiter is, or -1 if it is not near; a backslash keeps a character from closing. */
function closing(source, position, delimiter) {
  const end = Math.min(source.length, position + LONGEST);
  for (let at = position; at < end; at += 1) {
    if (source.startsWith(delimiter, at)) return at;
    if (source[at] === "\\") at += 1;
  }
  return -1;
}

/** Whether the text between two dollar signs is a formula: "$5 and $10" is none, nor is "$5 and 10$". */
function isFormula(tex, following = "") {
  if (/^\s|\s$/.test(tex) || /\d/.test(following)) return false;
  return tex.includes("\\") || !/(^[\d.,]+|[a-z]{2,}[,.]?)\s+[a-z]{2,}/i.test(tex);
}
