// Choose an image by dropping or pasting it, and show it before it is sent.
export function watchDrops(root) {
  for (const place of root.querySelectorAll("[data-drop]")) {
    const input = place.querySelector("input[type=file]");
    const choose = (files) => {
      const image = [...files].find((file) => file.type.startsWith("image/"));
      if (!image) return false;
      const chosen = new DataTransfer();
      chosen.items.add(image);
      input.files = chosen.files;
      show(place, input);
      return true;
    };
    input.addEventListener("change", () => show(place, input));
    place.addEventListener("dragover", (event) => {
      event.preventDefault();
      place.classList.add("over");
    });
    place.addEventListener("dragleave", () => place.classList.remove("over"));
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      place.classList.remove("over");
      choose(event.dataTransfer.files);
    });
    root.addEventListener("paste", (event) => {
      if (choose(event.clipboardData.files)) event.preventDefault();
    });
    place.querySelector("[data-clear]").addEventListener("click", () => {
      input.value = "";
      show(place, input);
      input.focus();
    });
  }
}

function show(place, input) {
  const preview = place.querySelector(".preview");
  const image = preview.querySelector("img");
  if (image.src) URL.revokeObjectURL(image.src);
  preview.hidden = !input.files.length;
  if (input.files.length) image.src = URL.createObjectURL(input.files[0]);
  else image.removeAttribute("src");
}
