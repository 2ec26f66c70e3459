// Pictures on their way into a message: chosen, dropped or pasted, read as data: addresses, shown as chips.

export class Tray {
  /** `list` is the <ul> that shows it; `changed()` is called whenever its pictures change. */
  constructor(list, changed) {
    this.list = list;
    this.changed = changed;
    this.pictures = [];
    this.reading = 0;
  }

  /** Read files and add them in their order; returns the names of those that are no pictures or can not be read. */
  async add(files) {
    const refused = [];
    this.reading += 1;
    try {
      const read = await Promise.all([...files].map((file) => readPicture(file).catch(() => file.name || "a file")));
      for (const one of read) typeof one === "string" ? refused.push(one) : this.pictures.push(one);
    } finally {
      this.reading -= 1;
    }
    this.show();
    return refused;
  }

  put(pictures) {
    this.pictures = [...pictures];
    this.show();
  }

  take() {
    const taken = this.pictures;
    this.put([]);
    return taken;
  }

  show() {
    this.list.replaceChildren(...this.pictures.map((picture, index) => this.#chip(picture, index)));
    this.changed();
  }

  #chip(picture, index) {
    const item = document.createElement("li");
    const name = document.createElement("span");
    name.textContent = `${index + 1}. ${picture.name}`;
    const remove = document.createElement("button");
    remove.type = "button";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Take out picture ${index + 1}, ${picture.name}`);
    remove.addEventListener("click", () => {
      this.pictures.splice(index, 1);
      this.show();
    });
    item.append(shown(picture), name, remove);
    return item;
  }
}

/** An <img> of a picture; a box with its name where the browser can not draw the format (the server may read it). */
export function shown(picture) {
  const image = document.createElement("img");
  image.src = picture.url;
  image.alt = picture.name;
  image.addEventListener("error", () => {
    const box = document.createElement("div");
    box.className = "unseen";
    box.textContent = "no preview";
    image.replaceWith(box);
  });
  return image;
}

/** The pictures among what was pasted or dropped. */
export function pictureFiles(transfer) {
  return [...(transfer?.files ?? [])];
}

function readPicture(file) {
  return new Promise((resolve, reject) => {
    if (file.type && !file.type.startsWith("image/")) {
      reject(new Error("no picture"));
      return;
    }
    const reader = new FileReader();
    reader.onerror = () => reject(reader.error);
    reader.onload = () => {
      const data = String(reader.result);
      const url = data.startsWith("data:image/") ? data : data.replace(/^data:[^;,]*/, "data:image/unknown");
      resolve({ url, name: file.name || "pasted picture" });
    };
    reader.readAsDataURL(file);
  });
}
