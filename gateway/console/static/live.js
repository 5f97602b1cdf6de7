// Keep parts of a page current: a part with `data-live` is fetched from that address and replaced,
// until it comes without. The next request begins after the last answer, and none in hidden tabs.
import { fetchPage, replacePart } from "./pages.js";

const PAUSE_MILLISECONDS = 500;
const LONGEST_PAUSE_MILLISECONDS = 15000;

export function watchLive(root) {
  for (const part of root.querySelectorAll("[data-live]")) follow(part.id);
}

export async function follow(id) {
  let pause = PAUSE_MILLISECONDS;
  for (let part = document.getElementById(id); part?.dataset.live; ) {
    await visible();
    const next = await replaced(part);
    pause = next ? PAUSE_MILLISECONDS : Math.min(pause * 2, LONGEST_PAUSE_MILLISECONDS);
    part = next ?? part;
    if (part.dataset.live) await new Promise((done) => setTimeout(done, pause));
  }
}

async function replaced(part) {
  try {
    const { response, page } = await fetchPage(part.dataset.live);
    if (response.redirected && !page.getElementById(part.id)) {
      // The session has ended; signing in leads back here.
      location.reload();
    }
    // The rest of the page belongs to the state as well, such as the form below an answer.
    for (const other of page.querySelectorAll("main > [id]")) {
      if (other.id !== part.id && !document.getElementById(other.id)) {
        part.after(document.importNode(other, true));
      }
    }
    document.title = page.title || document.title;
    return response.ok ? replacePart(part.id, page) : null;
  } catch {
    return null;
  }
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) =>
    document.addEventListener("visibilitychange", () => done(), { once: true }),
  );
}
