// The list of objects: name, colour, size, shown or not, locked or not.

const EYE = "M1 7s2.5-4.5 6-4.5S13 7 13 7s-2.5 4.5-6 4.5S1 7 1 7Z M7 5.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6Z";
const LOCK = "M3 6.5h8v6H3Z M4.7 6.5V4.3a2.3 2.3 0 0 1 4.6 0V6.5";
const OPEN = "M3 6.5h8v6H3Z M4.7 6.5V4.3a2.3 2.3 0 0 1 4.4-.9";
const SVG = "http://www.w3.org/2000/svg";

function icon(button, path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 14 14");
  const drawn = document.createElementNS(SVG, "path");
  drawn.setAttribute("d", path);
  svg.append(drawn);
  button.replaceChildren(svg);
}

function toggle(label, path, pressed, act) {
  const button = document.createElement("button");
  button.className = "icon";
  button.title = label;
  button.setAttribute("aria-label", label);
  button.setAttribute("aria-pressed", pressed);
  icon(button, path);
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    act();
  });
  return button;
}

export function millilitres(voxels, spacing) {
  const found = (voxels * spacing[0] * spacing[1] * spacing[2]) / 1000;
  return `${found >= 100 ? found.toFixed(0) : found >= 1 ? found.toFixed(1) : found.toFixed(2)} ml`;
}

export class Objects {
  /** does: select(number), change(number, what), hide(number). */
  constructor(list, does) {
    Object.assign(this, { list, does });
    this.hidden = new Set();
  }

  colours(objects) {
    return objects.map((each) => (this.hidden.has(each.number) ? null : each.colour));
  }

  draw(state, spacing) {
    // What is being typed stays; the answer to it draws the list again.
    if (this.list.contains(document.activeElement) && document.activeElement.matches("input[type=text]")) return;
    this.list.replaceChildren(...state.objects.map((each) => this.#item(each, state.current, spacing)));
    this.list.querySelector(".current")?.scrollIntoView({ block: "nearest" });
  }

  #item(object, current, spacing) {
    const { number, name, colour, locked, voxels } = object;
    const item = document.createElement("li");
    item.className = number === current ? "current" : "";
    item.dataset.number = number;
    item.addEventListener("click", () => number !== current && this.does.select(number));

    const swatch = document.createElement("input");
    Object.assign(swatch, { type: "color", value: colour, title: `Colour of ${name}` });
    swatch.setAttribute("aria-label", swatch.title);
    swatch.addEventListener("change", () => this.does.change(number, { colour: swatch.value }));
    swatch.addEventListener("click", (event) => event.stopPropagation());

    const text = document.createElement("input");
    Object.assign(text, { type: "text", value: name, title: name, maxLength: 60, spellcheck: false });
    text.setAttribute("aria-label", `Name of object ${number}`);
    text.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") text.value = name;
      if (event.key === "Enter" || event.key === "Escape") text.blur();
    });
    text.addEventListener("blur", () => {
      const wanted = text.value.trim();
      if (wanted && wanted !== name) this.does.change(number, { name: wanted });
      else text.value = name;
    });

    const size = document.createElement("span");
    size.className = "numbers dim";
    size.textContent = voxels ? millilitres(voxels, spacing) : "empty";
    const named = document.createElement("div");
    named.className = "named";
    named.append(text, size);
    const shown = !this.hidden.has(number);
    item.append(
      swatch, named,
      toggle(shown ? "Hide" : "Show", EYE, shown, () => this.does.hide(number)),
      toggle(locked ? "Unlock" : "Lock: others cannot take its voxels", locked ? LOCK : OPEN, locked, () => this.does.change(number, { locked: !locked })),
    );
    return item;
  }
}
