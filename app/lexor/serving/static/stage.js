// What is drawn: the volume and the labels, by NiiVue, on tiles that we lay out.
//
// Volume and labels come with their axes along the patient's (x right, y front, z up), so that a voxel's index is the
// same here, in NiiVue and in what is sent to Lexor.

const { Niivue, NVImage } = globalThis.niivue;

/** normal: the axis across the plane. On the screen, `across` runs to the left and `up` upwards. */
export const PLANES = {
  axial: { type: 0, normal: 2, across: 0, up: 1, title: "Axial", letters: ["A", "L", "P", "R"] },
  coronal: { type: 1, normal: 1, across: 0, up: 2, title: "Coronal", letters: ["S", "L", "I", "R"] },
  sagittal: { type: 2, normal: 0, across: 1, up: 2, title: "Sagittal", letters: ["S", "P", "I", "A"] },
};
const RENDER = 4;
const MARGIN = 1.04;
// Without a graphics card, drawing this many voxels in 3D takes seconds.
const MANY = 4e6;

class Lightbox extends Niivue {
  aspects = {};
  bodyOpacity = 0.15;

  // NiiVue fits a slice's tile to the image; ours keep their size, and show more around it, so that zooming fills them.
  calculateWidthHeight(_type, _scale, width, height) {
    return [width, height];
  }

  screenFieldOfViewExtendedVox(type) {
    const screen = super.screenFieldOfViewExtendedVox(type);
    const wanted = this.aspects[type] ?? screen.fovMM[0] / screen.fovMM[1];
    const [width, height] = screen.fovMM;
    const grown = [Math.max(width, height * wanted) * MARGIN, Math.max(height, width / wanted) * MARGIN];
    for (const axis of [0, 1]) {
      const middle = (screen.mnMM[axis] + screen.mxMM[axis]) / 2;
      screen.mnMM[axis] = middle - grown[axis] / 2;
      screen.mxMM[axis] = middle + grown[axis] / 2;
      screen.fovMM[axis] = grown[axis];
    }
    return screen;
  }

  drawImage3D(...matrices) {
    this.renderShader.use(this.gl);
    this.gl.uniform1f(this.renderShader.uniforms.backOpacity, this.bodyOpacity);
    super.drawImage3D(...matrices);
  }
}

export class Stage {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.rects = {};
    this.view = "all";
    this.waiting = this.stale = false;
  }

  async open(info, bytes) {
    this.info = info;
    this.nv = new Lightbox({
      interactive: false,
      dragAndDropEnabled: false,
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      isOrientationTextVisible: false,
      isSliceMM: false,
      backColor: [0, 0, 0, 1],
      // Ours is drawn over the tiles, a pixel wide.
      crosshairWidth: 0,
      smoothDrawing: 1,
      loadingText: "",
      logLevel: "error",
    });
    await this.nv.attachToCanvas(this.canvas);
    this.flat = info.shape.reduce((product, length) => product * length) > MANY && this.#hasNoCard();
    if (this.flat) this.nv.opts.smoothDrawing = 0;
    const { low, high } = info.windows[0];
    const image = await NVImage.loadFromUrl({ url: bytes, name: "volume.nii", cal_min: low, cal_max: high });
    if (image.permRAS.join() !== "1,2,3") throw new Error("the volume came in another order of axes");
    this.image = image;
    this.nv.addVolume(image);
    this.nv.createEmptyDrawing();
    this.nv.opts.renderOverlayBlend = 1;
    this.nv.scene.renderAzimuth = 160;
    this.nv.scene.renderElevation = 12;
    this.cursor = info.shape.map((length) => Math.floor(length / 2));
    [this.low, this.high] = [low, high];
    new ResizeObserver(() => this.layout(this.view)).observe(this.canvas.parentElement);
    this.layout("all");
  }

  #hasNoCard() {
    const { gl } = this.nv;
    const told = gl.getExtension("WEBGL_debug_renderer_info");
    return told !== null && /swiftshader|llvmpipe|software/i.test(gl.getParameter(told.UNMASKED_RENDERER_WEBGL));
  }

  /** Lays out the tiles, in fractions of the stage: one plane, or all of them and 3D. */
  layout(view) {
    this.view = view;
    const stage = this.canvas.parentElement.getBoundingClientRect();
    const [gapX, gapY] = [2 / stage.width, 2 / stage.height];
    const [halfX, halfY] = [(1 - gapX) / 2, (1 - gapY) / 2];
    const [farX, farY] = [halfX + gapX, halfY + gapY];
    const all = {
      axial: [0, 0, halfX, this.flat ? 1 : halfY],
      sagittal: [farX, 0, halfX, halfY],
      coronal: this.flat ? [farX, farY, halfX, halfY] : [0, farY, halfX, halfY],
      render: [farX, farY, halfX, halfY],
    };
    if (this.flat) delete all.render;
    this.rects = view === "all" ? all : { [view]: [0, 0, 1, 1] };
    for (const [name, [, , width, height]] of Object.entries(this.rects)) {
      const plane = PLANES[name];
      if (plane) this.nv.aspects[plane.type] = (width * stage.width) / (height * stage.height);
    }
    this.nv.setCustomLayout(
      Object.entries(this.rects).map(([name, position]) => ({ sliceType: PLANES[name]?.type ?? RENDER, position })),
    );
    this.draw();
  }

  /** Draws soon, once for all that is asked for until then. */
  draw() {
    this.stale = true;
    this.mark();
  }

  /** Has only what lies over the images drawn again. */
  mark() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.stale) {
        this.stale = false;
        this.nv.scene.crosshairPos = this.cursor.map((at, axis) => (at + 0.5) / this.info.shape[axis]);
        this.nv.drawScene();
      }
      this.changed();
    });
  }

  setCursor(voxel) {
    this.cursor = this.clamped(voxel);
    this.draw();
  }

  clamped(voxel) {
    return voxel.map((at, axis) => Math.min(Math.max(Math.round(at), 0), this.info.shape[axis] - 1));
  }

  step(name, slices) {
    const { normal } = PLANES[name];
    this.setCursor(this.cursor.map((at, axis) => (axis === normal ? at + slices : at)));
  }

  /** Of a plane's tile: its size in CSS pixels, and voxels per pixel along the two axes of the plane. */
  #scale(name) {
    const { type, across, up } = PLANES[name];
    const tile = this.nv.screenSlices.find((each) => each.axCorSag === type);
    if (!tile) return null;
    const [left, top, width, height] = tile.leftTopWidthHeight;
    const at = (x, y) => {
      const index = this.nv.screenSlices.indexOf(tile);
      const frac = this.nv.screenXY2TextureFrac(left + x * width, top + y * height, index, false);
      return [across, up].map((axis) => frac[axis] * this.info.shape[axis] - 0.5);
    };
    const [x0, y0] = at(0.01, 0.01);
    const [x1, y1] = at(0.99, 0.99);
    const ratio = this.canvas.width / this.canvas.clientWidth;
    const size = [width / ratio, height / ratio];
    const slope = [(x1 - x0) / (0.98 * size[0]), (y1 - y0) / (0.98 * size[1])];
    return { size, slope, start: [x0 - 0.01 * size[0] * slope[0], y0 - 0.01 * size[1] * slope[1]] };
  }

  /** The place in voxels, not rounded, of a point of a plane's tile in CSS pixels. */
  toVoxel(name, x, y) {
    const { across, up } = PLANES[name];
    const scale = this.#scale(name);
    const found = [...this.cursor];
    if (scale) {
      found[across] = scale.start[0] + x * scale.slope[0];
      found[up] = scale.start[1] + y * scale.slope[1];
    }
    return found;
  }

  /** The point of a plane's tile, in CSS pixels, of a place in voxels. */
  toTile(name, voxel) {
    const { across, up } = PLANES[name];
    const scale = this.#scale(name);
    if (!scale) return [-1, -1];
    return [(voxel[across] - scale.start[0]) / scale.slope[0], (voxel[up] - scale.start[1]) / scale.slope[1]];
  }

  /** CSS pixels of a plane's tile per millimetre. */
  pixelsPerMm(name) {
    const scale = this.#scale(name);
    return scale ? 1 / (Math.abs(scale.slope[0]) * this.info.spacing[PLANES[name].across]) : 1;
  }

  inside(voxel) {
    return voxel.every((at, axis) => at > -0.5 && at < this.info.shape[axis] - 0.5);
  }

  /** Enlarges all planes about a place in voxels. */
  zoom(factor, voxel) {
    const pan = this.nv.scene.pan2Dxyzmm;
    const before = pan[3];
    const after = Math.min(Math.max(before * factor, 1), 30);
    const found = [0, 1, 2].map((axis) => pan[axis] + voxel[axis] * this.info.spacing[axis] * (before - after));
    this.nv.scene.pan2Dxyzmm = after === 1 ? [0, 0, 0, 1] : [...found, after];
    this.draw();
  }

  /** Moves the image of a plane by CSS pixels. */
  pan(name, x, y) {
    const { across, up } = PLANES[name];
    const scale = this.#scale(name);
    if (!scale) return;
    const pan = [...this.nv.scene.pan2Dxyzmm];
    pan[across] += x * scale.slope[0] * this.info.spacing[across] * pan[3];
    pan[up] += y * scale.slope[1] * this.info.spacing[up] * pan[3];
    this.nv.scene.pan2Dxyzmm = pan;
    this.draw();
  }

  wholeImage() {
    this.nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
    this.nv.scene.volScaleMultiplier = 1;
    this.draw();
  }

  turn(x, y) {
    this.nv.scene.renderAzimuth += x * 0.5;
    this.nv.scene.renderElevation = Math.min(Math.max(this.nv.scene.renderElevation + y * 0.5, -90), 90);
    this.draw();
  }

  /** Where the patient's sides point in 3D: for each that faces us, its letter and a direction on the screen. */
  sides() {
    const { renderAzimuth, renderElevation } = this.nv.scene;
    const model = this.nv.calculateModelMatrix(renderAzimuth, renderElevation);
    return ["RL", "AP", "SI"].map((letters, axis) => {
      const [x, y, depth] = model.slice(4 * axis, 4 * axis + 3);
      const length = Math.hypot(x, y, depth);
      const sign = depth < 0 ? 1 : -1;
      return { letter: letters[depth < 0 ? 0 : 1], x: (sign * x) / length, y: (sign * y) / length };
    });
  }

  zoom3D(factor) {
    this.nv.scene.volScaleMultiplier = Math.min(Math.max(this.nv.scene.volScaleMultiplier * factor, 0.5), 4);
    this.draw();
  }

  setWindow(low, high) {
    if (low === this.low && high === this.high) return;
    this.low = low;
    this.high = Math.max(high, low + 1e-6);
    this.image.cal_min = this.low;
    this.image.cal_max = this.high;
    clearTimeout(this.windowing);
    this.windowing = setTimeout(() => {
      this.nv.updateGLVolume();
      this.draw();
    }, 10);
  }

  /** The scan's value at a voxel. */
  valueAt(voxel) {
    const [width, height] = this.info.shape;
    return this.image.img[voxel[0] + width * (voxel[1] + height * voxel[2])];
  }

  /** Of a voxel, millimetres to the right, the front and the top, by the scan's own geometry. */
  millimetres(voxel) {
    return this.info.affine.slice(0, 3).map((row) => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]);
  }

  labelAt(voxel) {
    const [width, height] = this.info.shape;
    return this.nv.drawBitmap[voxel[0] + width * (voxel[1] + height * voxel[2])];
  }

  /** Puts labels of a box in place of those that are shown. */
  setLabels(first, shape, labels) {
    const [width, height] = this.info.shape;
    const bitmap = this.nv.drawBitmap;
    for (let z = 0; z < shape[2]; z++) {
      for (let y = 0; y < shape[1]; y++) {
        const from = shape[0] * (y + shape[1] * z);
        bitmap.set(labels.subarray(from, from + shape[0]), first[0] + width * (first[1] + y + height * (first[2] + z)));
      }
    }
    const gl = this.nv.gl;
    gl.activeTexture(gl.TEXTURE7);
    gl.bindTexture(gl.TEXTURE_3D, this.nv.drawTexture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, ...first, ...shape, gl.RED, gl.UNSIGNED_BYTE, labels);
    if (this.nv.opts.smoothDrawing) this.nv.blurDrawingGL([3, ...this.info.shape]);
    this.draw();
  }

  /** colours: for each object, from 1, its "#rrggbb"; null hides it. */
  setColours(colours) {
    const lut = new Uint8ClampedArray(256 * 4);
    colours.forEach((colour, i) => {
      if (colour === null) return;
      const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
      lut.set([...parts, 255], 4 * (i + 1));
    });
    this.nv.drawLut = { lut, labels: [] };
    this.nv.refreshColormaps();
    this.draw();
  }

  setOpacity(opacity) {
    this.nv.drawOpacity = opacity;
    // The outline stays to be seen when what it encloses hardly is.
    this.nv.drawRimOpacity = opacity === 0 ? 0 : 1;
    this.draw();
  }

  setBody(opacity) {
    this.nv.bodyOpacity = opacity;
    this.draw();
  }
}
