// Keyboard shortcuts: `?` lists them, `/` searches, `g` and a letter open a page. They can be turned
// off (WCAG 2.2, criterion 2.1.4), and never act in fields or with modifier keys.
const SETTING = "rayon-shortcuts";
const GO_MILLISECONDS = 1500;

export function watchKeys(root) {
  const dialog = root.getElementById("shortcuts");
  if (!dialog) return;
  const box = dialog.querySelector("[data-shortcuts-on]");
  box.checked = localStorage.getItem(SETTING) !== "off";
  box.addEventListener("change", () => localStorage.setItem(SETTING, box.checked ? "on" : "off"));
  const opener = root.querySelector("[data-shortcuts]");
  opener.hidden = false;
  opener.addEventListener("click", () => dialog.showModal());
  let gone = 0;
  root.addEventListener("keydown", (event) => {
    if (!box.checked || isTyped(event)) return;
    const isGoing = Date.now() - gone < GO_MILLISECONDS;
    gone = 0;
    if (isGoing) {
      root.querySelector(`[data-go="${CSS.escape(event.key)}"]`)?.click();
    } else if (event.key === "g") {
      gone = Date.now();
    } else if (event.key === "?") {
      dialog.showModal();
    } else if (event.key === "/") {
      const field = root.querySelector("[data-search]");
      if (!field) return;
      event.preventDefault();
      field.focus();
    }
  });
}

function isTyped(event) {
  const isModified = event.ctrlKey || event.altKey || event.metaKey || event.isComposing;
  const target = event.target;
  const isField = target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
  return isModified || isField || target.closest("dialog");
}
