// Tables and formulas that are wider than the window scroll: let the keyboard reach them.
document$.subscribe(() => {
  for (const region of document.querySelectorAll(".md-typeset__scrollwrap, math[display=block]")) {
    region.setAttribute("tabindex", "0");
  }
});
