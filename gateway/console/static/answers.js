// The answers of a catalog: the slider of the precision dial, and labels set in place.
import { fetchPage, replacePart } from "./pages.js";

const PAUSE_MILLISECONDS = 250;

export function watchAnswers(root) {
  const dial = root.querySelector("[data-dial]");
  if (dial) watchDial(dial);
  root.addEventListener("submit", (event) => {
    if (event.target.dataset.part) label(event);
  });
}

function watchDial(dial) {
  const form = dial.querySelector("form");
  const slider = dial.querySelector("#slider");
  const number = form.elements.target;
  let timer = 0;
  let latest = 0;
  slider.closest("[hidden]").hidden = false;
  slider.addEventListener("input", () => {
    number.value = slider.value;
    plan();
  });
  number.addEventListener("input", () => {
    slider.value = number.value;
    if (number.validity.valid && number.value) plan();
  });
  form.elements.by.addEventListener("change", plan);

  function plan() {
    clearTimeout(timer);
    timer = setTimeout(show, PAUSE_MILLISECONDS);
  }

  async function show() {
    const address = new URL(form.action);
    address.search = new URLSearchParams(new FormData(form));
    const turn = ++latest;
    try {
      const { response, page } = await fetchPage(address);
      // A later position of the slider is on its way.
      if (turn !== latest || !response.ok) return;
      replacePart("dial-result", page);
      replacePart("answers", page);
      history.replaceState(null, "", address);
    } catch {
      form.submit();
    }
  }
}

async function label(event) {
  const form = event.target;
  event.preventDefault();
  const id = form.dataset.part;
  const body = new FormData(form, event.submitter);
  try {
    const { response, page } = await fetchPage(form.action, { method: "POST", body: new URLSearchParams(body) });
    const row = page.getElementById(id);
    if (row) {
      const part = replacePart(id, page);
      (part.querySelector("[aria-invalid=true]") ?? part.querySelector("button"))?.focus();
    } else if (response.ok && !response.url.includes("/sign-in")) {
      // The row has left the filtered list.
      document.getElementById(id).remove();
    } else {
      location.assign(response.url);
    }
    replacePart("dial-result", page);
  } catch {
    form.submit();
  }
}
