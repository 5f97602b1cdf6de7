// Keep parts of a page current: a part with `data-live` is fetched from that address and replaced,
// until it comes without. The next request begins `data-every` seconds after the last answer, none
// in hidden tabs, and none while the button `data-pause` of the part is pressed.
import { fetchPage, replacePart } from "./pages.js";

const PAUSE_SECONDS = 0.5;
const LONGEST_PAUSE_SECONDS = 15;
const paused = new Set();

export function watchLive(root) {
  for (const part of root.querySelectorAll("[data-live]")) {
    showPause(part);
    follow(part.id);
  }
  root.addEventListener("click", (event) => {
    const part = event.target.closest("[data-pause]")?.closest("[data-live]");
    if (!part) return;
    if (!paused.delete(part.id)) paused.add(part.id);
    showPause(part);
  });
}

async function follow(id) {
  let failures = 0;
  for (let part = document.getElementById(id); part?.dataset.live; ) {
    // A part that is fetched at intervals has just been loaded with its page, so it waits first.
    if (part.dataset.every || failures) await sleep(pauseOf(part, failures));
    await visible();
    if (paused.has(id)) {
      await sleep(PAUSE_SECONDS);
      continue;
    }
    const next = await replaced(part);
    failures = next ? 0 : failures + 1;
    part = next ?? part;
    if (!part.dataset.every) await sleep(PAUSE_SECONDS);
  }
}

async function replaced(part) {
  try {
    const { response, page } = await fetchPage(part.dataset.live);
    // The session has ended; signing in leads back here.
    if (response.redirected && !page.getElementById(part.id)) location.reload();
    // A field or button in use must not be replaced; the next fetch is soon.
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const isOnPause = focused?.matches("[data-pause]");
    if (focused && !isOnPause && part.dataset.every) return part;
    // The rest of the page belongs to the state as well, such as the form below an answer.
    for (const other of page.querySelectorAll("main > [id]")) {
      if (other.id !== part.id && !document.getElementById(other.id)) {
        part.after(document.importNode(other, true));
      }
    }
    for (const other of document.querySelectorAll("main > [id]")) {
      if (response.ok && !page.getElementById(other.id)) other.remove();
    }
    document.title = page.title || document.title;
    const fresh = response.ok ? replacePart(part.id, page) : null;
    if (fresh) showPause(fresh);
    if (isOnPause) fresh?.querySelector("[data-pause]")?.focus();
    return fresh;
  } catch {
    return null;
  }
}

function showPause(part) {
  const button = part.querySelector("[data-pause]");
  if (!button) return;
  button.hidden = false;
  button.setAttribute("aria-pressed", String(paused.has(part.id)));
}

function pauseOf(part, failures) {
  const seconds = Number(part.dataset.every) || PAUSE_SECONDS;
  return Math.min(seconds * 2 ** failures, Math.max(seconds, LONGEST_PAUSE_SECONDS));
}

function sleep(seconds) {
  return new Promise((done) => setTimeout(done, seconds * 1000));
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) =>
    document.addEventListener("visibilitychange", () => done(), { once: true }),
  );
}
