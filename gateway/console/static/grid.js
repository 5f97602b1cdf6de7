// A grid of cells: keys move between them, cells are saved when they are left, changes are undone, a
// pasted column fills downwards. Without this script the grid is a form with a button.
const SAVE_MILLISECONDS = 300;

function watchGrid(form) {
  const grid = new Grid(form);
  document.getElementById("grid-help").hidden = false;
  form.addEventListener("keydown", (event) => grid.press(event));
  form.addEventListener("input", () => grid.show());
  form.addEventListener("change", (event) => grid.commit([[event.target, event.target.value]]));
  form.addEventListener("paste", (event) => grid.paste(event));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    // The page stays, so its button is not locked.
    event.stopImmediatePropagation();
    grid.leave();
    grid.save();
  });
  addEventListener("beforeunload", (event) => {
    grid.leave();
    if (!grid.isSaved()) event.preventDefault();
  });
  if (document.querySelector("#repair-run[data-live]")) showEnd(grid);
}

// Once the run has ended, its rows leave the grid.
function showEnd(grid) {
  const watch = new MutationObserver(() => {
    const run = document.getElementById("repair-run");
    if (!run || run.dataset.live || !grid.isSaved() || grid.isTyping()) return;
    watch.disconnect();
    location.reload();
  });
  watch.observe(document.getElementById("main"), { childList: true, subtree: true });
}

class Grid {
  constructor(form) {
    this.form = form;
    this.rows = [...form.querySelectorAll("tr[data-row]")];
    // Text of each cell that was committed, and that was saved.
    this.kept = new Map(this.cells().map((cell) => [cell, cell.value]));
    this.saved = new Map(this.kept);
    this.undone = [];
    this.done = [];
    this.saving = null;
    this.isAgain = false;
  }

  cells() {
    return [...this.form.querySelectorAll("textarea[name=value]")];
  }

  press(event) {
    const cell = event.target;
    if (!cell.matches("textarea[name=value]") || event.isComposing) return;
    const isControl = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (event.key === "Enter" && !isControl && !event.altKey) this.move(cell, event.shiftKey ? -1 : 1);
    else if (isControl && key === "z" && !event.shiftKey) this.undo(cell);
    else if (isControl && (key === "y" || (key === "z" && event.shiftKey))) this.redo();
    else if (isControl && key === "d") this.copyDown(cell);
    else return;
    event.preventDefault();
  }

  move(cell, step) {
    const row = this.rows[this.rowOf(cell) + step];
    this.commit([[cell, cell.value]]);
    if (row) focus(row.querySelectorAll("textarea")[this.columnOf(cell)]);
  }

  // Take over new texts as one step that can be undone.
  commit(texts) {
    const changed = texts.filter(([cell, text]) => !cell.readOnly && this.kept.get(cell) !== text);
    if (!changed.length) return;
    this.done.push(changed.map(([cell, text]) => [cell, this.kept.get(cell), text]));
    this.undone = [];
    this.write(changed);
  }

  write(texts) {
    for (const [cell, text] of texts) {
      cell.value = text;
      this.kept.set(cell, text);
    }
    this.show();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), SAVE_MILLISECONDS);
  }

  undo(cell) {
    if (cell.value !== this.kept.get(cell)) {
      // Typed since the cell was entered.
      cell.value = this.kept.get(cell);
      this.show();
      return;
    }
    const step = this.done.pop();
    if (!step) return;
    this.undone.push(step);
    this.write(step.map(([one, before]) => [one, before]));
    focus(step[0][0]);
  }

  redo() {
    const step = this.undone.pop();
    if (!step) return;
    this.done.push(step);
    this.write(step.map(([one, , after]) => [one, after]));
    focus(step[0][0]);
  }

  copyDown(cell) {
    const below = this.rows.slice(this.rowOf(cell));
    const column = this.columnOf(cell);
    this.commit(below.map((row) => [row.querySelectorAll("textarea")[column], cell.value]));
  }

  paste(event) {
    const cell = event.target;
    const table = tableIn(event.clipboardData.getData("text/plain"));
    if (!cell.matches("textarea[name=value]") || (table.length < 2 && table[0].length < 2)) return;
    event.preventDefault();
    const [top, left] = [this.rowOf(cell), this.columnOf(cell)];
    const texts = [];
    table.forEach((line, down) => {
      const there = this.rows[top + down]?.querySelectorAll("textarea") ?? [];
      line.forEach((text, right) => {
        if (there[left + right]) texts.push([there[left + right], text]);
      });
    });
    this.commit(texts);
  }

  // The cell in focus is committed, too.
  leave() {
    const cell = document.activeElement;
    if (this.kept.has(cell)) this.commit([[cell, cell.value]]);
  }

  isSaved() {
    return !this.saving && this.unsaved().length === 0;
  }

  unsaved() {
    return this.cells().filter((cell) => this.kept.get(cell) !== this.saved.get(cell));
  }

  isTyping() {
    return this.cells().some((cell) => cell.value !== this.kept.get(cell));
  }

  show() {
    this.say(this.isTyping() || !this.isSaved() ? "unsaved" : this.done.length ? "saved" : "");
  }

  say(name) {
    const place = this.form.querySelector("[data-state]");
    const text = name ? this.form.dataset[name] : "";
    if (place.textContent !== text) place.textContent = text;
  }

  async save() {
    clearTimeout(this.timer);
    if (this.saving) {
      this.isAgain = true;
      return;
    }
    const cells = this.unsaved();
    if (!cells.length) return;
    const sent = cells.map((cell) => [cell, this.kept.get(cell)]);
    this.say("saving");
    this.saving = this.send(sent);
    const isSent = await this.saving;
    this.saving = null;
    if (!isSent) {
      this.say("failed");
      return;
    }
    this.show();
    if (this.isAgain || this.unsaved().length) {
      this.isAgain = false;
      this.save();
    }
  }

  async send(sent) {
    const body = new FormData();
    for (const field of this.form.querySelectorAll(":scope > input[type=hidden]")) {
      body.append(field.name, field.value);
    }
    for (const [cell, text] of sent) {
      body.append("cell", cell.parentElement.querySelector("[name=cell]").value);
      body.append("value", text);
    }
    for (const row of new Set(sent.map(([cell]) => cell.closest("tr")))) {
      body.append("version", row.querySelector("[name=version]").value);
    }
    try {
      const response = await fetch(this.form.action, {
        method: "POST",
        body,
        credentials: "same-origin",
        headers: { Accept: "application/json" },
      });
      // The session has ended; signing in leads back here.
      if (response.status === 401) location.reload();
      if (!response.ok) return false;
      this.take(await response.json(), sent);
      return true;
    } catch {
      return false;
    }
  }

  take(outcome, sent) {
    for (const one of outcome.rows) {
      const row = document.getElementById(`row-${one.row}`);
      if (one.saved) row.querySelector("[name=version]").value = `${one.row}:${one.version}`;
      this.mark(row, one);
    }
    // A refused cell is not sent again and again; its reason stays beside it.
    for (const [cell, text] of sent) this.saved.set(cell, text);
    const button = document.querySelector("[data-run]");
    if (!button) return;
    button.closest("form").hidden = !outcome.ready;
    const number = outcome.ready.toLocaleString(document.documentElement.lang);
    button.textContent =
      outcome.ready === 1 ? button.dataset.one : button.dataset.many.replace("%", () => number);
  }

  mark(row, one) {
    const isRepaired = one.saved && one.status === "repaired";
    row.classList.toggle("repaired", isRepaired);
    const place = row.querySelector(".problem");
    const badge = document.createElement("span");
    badge.className = "badge finished";
    badge.textContent = this.form.dataset.repaired;
    const text = one.error || one.problem;
    place.replaceChildren(...(isRepaired ? [badge] : [plain(text)]));
    for (const cell of row.querySelectorAll("textarea")) {
      const isWrong = !isRepaired && one.column === cell.dataset.column;
      cell.toggleAttribute("aria-invalid", isWrong);
      if (isWrong) {
        cell.setAttribute("aria-invalid", "true");
        cell.setAttribute("aria-describedby", place.id);
      } else cell.removeAttribute("aria-describedby");
    }
  }

  rowOf(cell) {
    return this.rows.indexOf(cell.closest("tr"));
  }

  columnOf(cell) {
    return [...cell.closest("tr").querySelectorAll("textarea")].indexOf(cell);
  }
}

// A text of the server, which may be marked as English.
function plain(text) {
  const parsed = new DOMParser().parseFromString(text, "text/html");
  const shown = document.createElement("span");
  shown.textContent = parsed.body.textContent;
  const marked = parsed.body.querySelector("[lang]");
  if (marked) shown.lang = marked.lang;
  return shown;
}

function focus(cell) {
  cell.focus();
  cell.select();
}

// Lines and cells as spreadsheets copy them: tabs between cells, quotes around cells with breaks.
function tableIn(text) {
  const table = [[]];
  const pattern = /"((?:[^"]|"")*)"(?=[\t\r\n]|$)|([^\t\r\n]*)/y;
  const whole = text.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  for (let place = 0; ; ) {
    pattern.lastIndex = place;
    const found = pattern.exec(whole);
    table.at(-1).push(found[1] === undefined ? found[2] : found[1].replaceAll('""', '"'));
    place = pattern.lastIndex;
    if (place >= whole.length) return table;
    if (whole[place] === "\n") table.push([]);
    place += 1;
  }
}

function watchFiles(place) {
  const input = place.querySelector("input[type=file]");
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("over");
  });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    input.files = event.dataTransfer.files;
  });
}

// Classes cannot be used above their place.
for (const form of document.querySelectorAll("[data-grid]")) watchGrid(form);
for (const place of document.querySelectorAll("[data-drop-files]")) watchFiles(place);
