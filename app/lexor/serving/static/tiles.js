// What lies over each tile: its title, the slice, letters of the patient's sides, a scale, prompts; and its pointer.

import { PLANES } from "./stage.js";

const SVG = "http://www.w3.org/2000/svg";
const GAP = 12; // CSS pixels that the crosshair leaves free around the voxel
const LENGTHS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200];

function element(parent, tag, classes = "", text = "") {
  const found = document.createElement(tag);
  found.className = classes;
  found.textContent = text;
  parent.append(found);
  return found;
}

function drawn(parent, tag, values) {
  const found = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(values)) found.setAttribute(name, value);
  parent.append(found);
  return found;
}

export class Tiles {
  /** gestures: told what the pointer does on a tile, see Gestures. enlarge: told which tile to show alone. */
  constructor(root, stage, gestures, enlarge) {
    this.stage = stage;
    this.tiles = {};
    for (const name of ["axial", "sagittal", "coronal", "render"]) {
      const plane = PLANES[name];
      const tile = element(root, "div", "tile");
      tile.dataset.plane = name;
      const parts = { tile };
      if (plane) {
        parts.svg = drawn(tile, "svg", { class: "marks" });
        parts.letters = plane.letters.map((letter, i) => element(tile, "span", `letter ${"top right bottom left".split(" ")[i]}`, letter));
        parts.scale = element(tile, "div", "scale");
        parts.bar = element(parts.scale, "i");
        parts.length = element(parts.scale, "span");
        parts.slider = element(tile, "input", "slider");
        Object.assign(parts.slider, { type: "range", min: 0, step: 1 });
        parts.slider.setAttribute("aria-label", `${plane.title} slice`);
        parts.slider.addEventListener("input", () => stage.step(name, parts.slider.value - stage.cursor[plane.normal]));
      }
      if (!plane) parts.sides = drawn(tile, "svg", { class: "sides", viewBox: "-32 -32 64 64" });
      const title = element(tile, "div", "title");
      element(title, "b", "", plane?.title ?? "3D");
      parts.slice = element(title, "span", "numbers");
      const button = element(tile, "button", "enlarge");
      button.title = "Show this alone, or all again";
      button.setAttribute("aria-label", button.title);
      const icon = drawn(button, "svg", { viewBox: "0 0 12 12" });
      drawn(icon, "path", { d: "M7 1h4v4M5 11H1V7M11 1 7.2 4.8M1 11l3.8-3.8" });
      button.addEventListener("click", () => enlarge(name));
      gestures.listen(tile, name);
      this.tiles[name] = parts;
    }
  }

  /** marks: what is drawn of prompts, see `Marks.of`. */
  draw(marks) {
    const { stage } = this;
    const known = stage.info.placed;
    for (const [name, parts] of Object.entries(this.tiles)) {
      const rect = stage.rects[name];
      parts.tile.hidden = !rect;
      if (!rect) continue;
      const style = parts.tile.style;
      [style.left, style.top, style.width, style.height] = rect.map((part) => `${100 * part}%`);
      const plane = PLANES[name];
      if (!plane) {
        this.#sides(parts.sides);
        continue;
      }
      const depth = stage.info.shape[plane.normal];
      const at = stage.cursor[plane.normal];
      parts.slice.textContent = `${at + 1} / ${depth}`;
      parts.slider.max = depth - 1;
      parts.slider.value = at;
      parts.slider.hidden = depth < 2;
      for (const letter of parts.letters) letter.hidden = !known;
      this.#scale(name, parts);
      parts.svg.replaceChildren();
      this.#marks(name, plane, parts.svg, marks);
    }
  }

  #sides(svg) {
    svg.replaceChildren();
    if (!this.stage.info.placed) return;
    for (const { letter, x, y } of this.stage.sides()) {
      drawn(svg, "path", { d: `M0 0L${18 * x} ${-18 * y}` });
      drawn(svg, "text", { x: 26 * x, y: -26 * y }).textContent = letter;
    }
  }

  #scale(name, parts) {
    const pixels = this.stage.pixelsPerMm(name);
    const length = LENGTHS.findLast((each) => each * pixels <= 130) ?? LENGTHS[0];
    parts.bar.style.width = `${length * pixels}px`;
    parts.length.textContent = length < 10 ? `${length} mm` : `${length / 10} cm`;
  }

  #marks(name, plane, svg, marks) {
    const { stage } = this;
    this.#crosshair(name, plane, svg);
    for (const box of marks.boxes) {
      const beside = box.open !== plane.normal && box.open !== undefined;
      const here = stage.cursor[plane.normal];
      if (!beside && (here < box.first[plane.normal] || here > box.last[plane.normal])) continue;
      this.#rect(name, svg, box, `box ${box.kind}`, beside);
    }
    for (const click of marks.clicks) {
      const away = Math.abs(click.at[plane.normal] - stage.cursor[plane.normal]);
      if (away > 2) continue;
      const [x, y] = stage.toTile(name, click.at);
      const group = drawn(svg, "g", {
        class: `click ${click.positive ? "add" : "remove"}${away ? " beside" : ""}${click.waiting ? " waiting" : ""}`,
        transform: `translate(${x} ${y})`,
      });
      drawn(group, "circle", { r: 6 });
      drawn(group, "path", { d: click.positive ? "M-3 0H3M0-3V3" : "M-3 0H3" });
    }
    if (marks.stroke?.name === name) {
      const points = marks.stroke.path.map((at) => stage.toTile(name, at));
      drawn(svg, "polyline", {
        class: `stroke ${marks.stroke.positive ? "add" : "remove"}`,
        points: (points.length > 1 ? points : [...points, ...points]).join(" "),
        "stroke-width": Math.max(2, 2 * marks.stroke.radius * stage.pixelsPerMm(name)),
      });
    }
    if (marks.brush?.name === name) {
      const [x, y] = stage.toTile(name, marks.brush.at);
      drawn(svg, "circle", { class: "brush", cx: x, cy: y, r: Math.max(1, marks.brush.radius * stage.pixelsPerMm(name)) });
    }
  }

  #crosshair(name, plane, svg) {
    const middle = this.stage.toTile(name, this.stage.cursor);
    const [x, y] = middle.map((each) => Math.round(each) + 0.5);
    const corner = (end) => this.stage.toTile(name, this.stage.info.shape.map((length) => (end ? length - 0.5 : -0.5)));
    const [[right, bottom], [left, top]] = [corner(0), corner(1)];
    const path = [
      [left, x - GAP, (at) => `${at} ${y}`], [x + GAP, right, (at) => `${at} ${y}`],
      [top, y - GAP, (at) => `${x} ${at}`], [y + GAP, bottom, (at) => `${x} ${at}`],
    ].map(([from, to, point]) => (from < to ? `M${point(from)}L${point(to)}` : ""));
    drawn(svg, "path", { class: "crosshair", d: path.join("") || "M0 0" });
  }

  #rect(name, svg, box, classes, beside) {
    const a = this.stage.toTile(name, box.first.map((at) => at - 0.5));
    const b = this.stage.toTile(name, box.last.map((at) => at + 0.5));
    const [x, y] = [Math.min(a[0], b[0]), Math.min(a[1], b[1])];
    drawn(svg, "rect", {
      class: beside ? `${classes} beside` : classes,
      x, y, width: Math.abs(a[0] - b[0]), height: Math.abs(a[1] - b[1]),
    });
  }
}
