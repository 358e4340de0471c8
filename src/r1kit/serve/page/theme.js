// Light or dark: as the system says, until the button says otherwise.

const STORED = "r1kit-theme";
const root = document.documentElement;

export function startTheme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const stored = localStorage.getItem(STORED);
    if (stored) root.dataset.theme = stored;
    button.setAttribute("aria-pressed", String(isDark()));
  };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  button.addEventListener("click", () => {
    localStorage.setItem(STORED, isDark() ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  show();
}
