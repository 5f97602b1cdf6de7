// Choose the files of a catalog by dropping them: a table and, as a ZIP archive, its images.
const IMAGE = /\.(jpe?g|png|gif|webp|bmp|tiff?|avif|heic|ico)$/i;

export function watchFileDrops(root) {
  for (const place of root.querySelectorAll("[data-drop-files]")) {
    place.addEventListener("dragover", (event) => {
      event.preventDefault();
      place.classList.add("over");
    });
    place.addEventListener("dragleave", () => place.classList.remove("over"));
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      place.classList.remove("over");
      take(place, [...event.dataTransfer.files]);
    });
  }
}

function take(place, files) {
  const table = place.querySelector("[name=products]");
  const archive = place.querySelector("[name=images]");
  const loose = files.filter((file) => IMAGE.test(file.name));
  const archives = files.filter((file) => isArchive(file));
  const tables = files.filter((file) => !loose.includes(file) && !archives.includes(file));
  say(place, loose.length ? place.dataset.loose : "");
  // An archive alone may hold the table; it is the images once there is a table.
  const before = table.files[0];
  if (tables.length && before && isArchive(before) && !archives.length) archives.push(before);
  const hasTable = tables.length || (before && !isArchive(before));
  if (tables.length) put(table, tables[0]);
  if (archives.length) put(hasTable ? archive : table, archives[0]);
}

function isArchive(file) {
  return /\.zip$/i.test(file.name);
}

function put(input, file) {
  const chosen = new DataTransfer();
  chosen.items.add(file);
  input.files = chosen.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

function say(place, text) {
  const shown = document.createElement("p");
  shown.className = "mistake";
  shown.textContent = text;
  place.querySelector("#images-place").replaceChildren(...(text ? [shown] : []));
}
