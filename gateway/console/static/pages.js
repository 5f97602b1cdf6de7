// Fetch a page of the console and replace a part of this one by the part with the same id.
import { watchCopying } from "./copying.js";
import { showTimes } from "./times.js";

export async function fetchPage(address, options = {}) {
  const response = await fetch(address, {
    ...options,
    credentials: "same-origin",
    headers: { Accept: "text/html" },
  });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return { response, page };
}

export function replacePart(id, page) {
  const old = document.getElementById(id);
  const fresh = page.getElementById(id);
  if (!old || !fresh) return null;
  const part = document.importNode(fresh, true);
  old.replaceWith(part);
  showTimes(part);
  watchCopying(part);
  return part;
}
