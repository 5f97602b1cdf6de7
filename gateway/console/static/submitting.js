// Send a form without leaving the page, so that what was typed and the chosen image are kept when
// something is wrong with them.
import { fetchPage } from "./pages.js";

export function watchSubmits(root) {
  for (const form of root.querySelectorAll("form")) {
    if ("submit" in form.dataset) form.addEventListener("submit", (event) => send(form, event));
    else if (!("upload" in form.dataset)) form.addEventListener("submit", () => setTimeout(() => lock(form, true)));
  }
  // A page that comes back from the browser's cache has its buttons again.
  addEventListener("pageshow", () => {
    for (const form of root.querySelectorAll("form")) lock(form, false);
  });
}

async function send(form, event) {
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  const label = button.textContent;
  button.textContent = form.dataset.busy;
  lock(form, true);
  try {
    const { response, page } = await fetchPage(form.action, {
      method: "POST",
      body: new FormData(form),
    });
    if (response.redirected) {
      location.assign(response.url);
      return;
    }
    showMistakes(form, page);
  } catch {
    // The connection failed; the browser's own way shows its own message.
    lock(form, false);
    form.submit();
    return;
  }
  lock(form, false);
  button.textContent = label;
}

export function showMistakes(form, page) {
  const sent = page.getElementById(form.id);
  if (!sent) {
    // A page of an error: its sentence is enough.
    const place = form.querySelector("[aria-live]");
    place.replaceChildren(...[...page.querySelector("main").children].map((one) => document.importNode(one, true)));
    place.scrollIntoView({ block: "nearest" });
    return;
  }
  for (const place of form.querySelectorAll("#mistakes, [id$=-place]")) {
    place.replaceChildren(...[...page.getElementById(place.id).childNodes].map((one) => document.importNode(one, true)));
  }
  for (const field of form.querySelectorAll("input, textarea, select")) {
    const fresh = field.id && page.getElementById(field.id);
    if (!fresh) continue;
    for (const name of ["aria-invalid", "aria-describedby"]) {
      if (fresh.hasAttribute(name)) field.setAttribute(name, fresh.getAttribute(name));
      else field.removeAttribute(name);
    }
  }
  form.querySelector("[aria-invalid=true]")?.focus();
}

export function lock(form, isLocked) {
  for (const button of form.querySelectorAll("[type=submit]")) button.disabled = isLocked;
}
