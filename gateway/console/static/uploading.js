// Send the files of a form: show the share that was sent, go on after a lost connection, and let the
// sender cancel. The files stay chosen.
import { PIECE_BYTES, Refused, forget, sendFile } from "./pieces.js";
import { lock, showMistakes } from "./submitting.js";

export function watchUploads(root) {
  for (const form of root.querySelectorAll("form[data-upload]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      upload(form);
    });
  }
}

async function upload(form) {
  const place = form.querySelector(".upload");
  const files = filesOf(form);
  const cancelling = new AbortController();
  say(form, "");
  lock(form, true);
  show(place, 0);
  place.hidden = false;
  place.querySelector("[data-cancel]").onclick = () => cancelling.abort();
  const addresses = {};
  let text = "";
  try {
    await sendPieces(form, files, addresses, cancelling.signal);
    const response = await sendForm(form, addresses, cancelling.signal);
    if (new URL(response.url).pathname !== new URL(form.action).pathname) {
      for (const [name, file] of files) if (addresses[name]) forget(addresses[name], file, false);
      location.assign(response.url);
      return;
    }
    showMistakes(form, new DOMParser().parseFromString(await response.text(), "text/html"));
  } catch (error) {
    text = await explained(form, error, files, addresses, cancelling.signal);
  }
  place.hidden = true;
  lock(form, false);
  say(form, text);
  if (cancelling.signal.aborted) form.querySelector("[type=submit]").focus();
}

function filesOf(form) {
  return [...form.querySelectorAll("input[type=file]")]
    .filter((input) => input.files.length)
    .map((input) => [input.name, input.files[0]]);
}

// Small files go with the form itself.
async function sendPieces(form, files, addresses, signal) {
  const large = files.filter(([, file]) => file.size > PIECE_BYTES);
  const total = large.reduce((sum, [, file]) => sum + file.size, 0);
  let before = 0;
  for (const [name, file] of large) {
    const watch = {
      sent: (bytes) => show(form.querySelector(".upload"), (before + bytes) / total),
      waits: (isLost) => say(form, isLost ? form.dataset.waiting : ""),
    };
    addresses[name] = await sendFile(form.dataset.upload, file, watch, signal);
    before += file.size;
  }
}

function sendForm(form, addresses, signal) {
  const body = new FormData(form);
  for (const [name, address] of Object.entries(addresses)) {
    body.delete(name);
    body.set(`${name}_upload`, address.split("/").pop());
  }
  show(form.querySelector(".upload"), 1);
  return fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" }, signal });
}

async function explained(form, error, files, addresses, signal) {
  if (signal.aborted) {
    for (const [name, file] of files) if (addresses[name]) await forget(addresses[name], file, true);
    return form.dataset.cancelled;
  }
  if (error instanceof Refused) return error.status === 401 ? form.dataset.ended : error.message;
  return form.dataset.lost;
}

function show(place, share) {
  const percent = new Intl.NumberFormat(document.documentElement.lang, { style: "percent" });
  place.querySelector("progress").value = share;
  place.querySelector("[data-percent]").textContent = percent.format(Math.floor(share * 100) / 100);
  place.classList.toggle("stored", share >= 1);
}

function say(form, text) {
  const place = form.querySelector("[data-said]");
  if (place.textContent !== text) place.textContent = text;
  place.hidden = !text;
}
