// Send a large file in pieces. After a lost connection, a reload or a closed tab it goes on where it
// stopped: the address of the upload is remembered by name, size and date of the file.
export const PIECE_BYTES = 4 * 1024 * 1024;
const SETTING = "rayon-uploads";
const LONGEST_PAUSE_SECONDS = 15;

// Returns the address of the complete upload. `watch` has `sent(bytes)` and `waits(isLost)`.
export async function sendFile(address, file, watch, signal) {
  const place = await opened(address, file, signal);
  let offset = place.offset;
  for (let failures = 0; offset < file.size; ) {
    try {
      const end = Math.min(offset + PIECE_BYTES, file.size);
      await patch(place.address, file.slice(offset, end), offset, watch, signal);
      offset = end;
      failures = 0;
    } catch (error) {
      if (signal.aborted) await forget(place.address, file, true);
      if (signal.aborted || !isTransient(error)) throw error;
      watch.waits(true);
      failures += 1;
      await pause(Math.min(2 ** failures / 2, LONGEST_PAUSE_SECONDS), signal);
      offset = (await state(place.address).catch(() => null))?.offset ?? offset;
    }
    watch.waits(false);
  }
  watch.sent(file.size);
  return place.address;
}

export async function forget(address, file, isDeleted) {
  remember(file, null);
  if (isDeleted) await fetch(address, { method: "DELETE" }).catch(() => null);
}

export function known(file) {
  return all()[nameOf(file)] ?? null;
}

// The address and offset of an earlier upload of the file, or of a new one.
async function opened(address, file, signal) {
  const earlier = known(file);
  const found = earlier && (await state(earlier));
  if (found?.size === file.size) return { address: earlier, offset: found.offset };
  const response = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify({ name: file.name, size: file.size }),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  const made = `${address}/${(await response.json()).id}`;
  remember(file, made);
  return { address: made, offset: 0 };
}

async function state(address) {
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  return response.ok ? response.json() : null;
}

// `fetch` does not report what was sent so far.
function patch(address, piece, offset, watch, signal) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.upload.onprogress = (event) => watch.sent(offset + event.loaded);
    request.onabort = () => fail(new DOMException("Cancelled", "AbortError"));
    request.onerror = () => fail(new TypeError("The connection was lost"));
    request.onload = () => {
      if (request.status < 300) done();
      else fail(new Refused(request.status, detailOf(request.responseText)));
    };
    request.onloadend = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort);
    request.open("PATCH", address);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Content-Type", "application/partial-upload");
    request.setRequestHeader("Upload-Offset", String(offset));
    request.send(piece);
  });
}

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function refusal(response) {
  return new Refused(response.status, detailOf(await response.text()));
}

function detailOf(text) {
  try {
    return JSON.parse(text).detail ?? "";
  } catch {
    return "";
  }
}

// Another offset (409) is looked up; a busy service is asked again.
function isTransient(error) {
  return error instanceof TypeError || [408, 409, 429, 502, 503, 504].includes(error.status);
}

function pause(seconds, signal) {
  return new Promise((done) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      done();
    };
    const timer = setTimeout(end, seconds * 1000);
    addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}

function nameOf(file) {
  return `${file.name}|${file.size}|${file.lastModified}`;
}

function all() {
  try {
    return JSON.parse(localStorage.getItem(SETTING)) ?? {};
  } catch {
    return {};
  }
}

function remember(file, address) {
  const uploads = all();
  if (address) uploads[nameOf(file)] = address;
  else delete uploads[nameOf(file)];
  // The service keeps them for a day; the last ones are enough.
  const last = Object.entries(uploads).slice(-10);
  localStorage.setItem(SETTING, JSON.stringify(Object.fromEntries(last)));
}
