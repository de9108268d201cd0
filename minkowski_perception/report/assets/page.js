// Copyright 2026 The minkowski_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// Decodes the clouds of the page and connects view, legend, player and charts.

const RAMPS = {
  confidence: ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"],
  moving: ["#3d4a5c", "#5d6b80", "#d9a441", "#ff7a2f", "#ff2d2d"],
  intensity: ["#1b1145", "#5b2a86", "#b63679", "#f8765c", "#fcfdbf"],
  height: ["#2b3a67", "#2a788e", "#22a884", "#a5db36", "#fff3a3"],
};
const UNKNOWN = [72, 78, 88];
const GROUPS = ["label", "truth", "agreement"];
const EASE = 0.15; // seconds
const ENOUGH = 60000; // points; a cloud with fewer is shown with past ones

const byId = (id) => document.getElementById(id);
const parts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const percent = (share) =>
  0 < share && share < 0.0005 ? "< 0.1 %" : `${Number((100 * share).toFixed(share < 0.0995 ? 1 : 0))} %`;
const number = (value) => value.toLocaleString("en");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const bright = matchMedia("(prefers-color-scheme: light)");

/** Bytes of base64 text. */
function decode(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Coordinates and columns of a cloud; see `payload.py`. */
function unpack(bytes, { offset, shown }, columns) {
  let at = offset;
  const take = (size) => bytes.slice(at, (at += size));
  const positions = new Int16Array(take(6 * shown).buffer);
  const found = columns.map((name) => [name, take((name === "colour" ? 3 : 1) * shown)]);
  return { positions, columns: Object.fromEntries(found) };
}

/** Heights of points above the sensor, in a frame that is upright. */
function heights({ positions, step, pose }) {
  const found = new Float32Array(positions.length / 3);
  for (let i = 0; i < found.length; i++) {
    const [x, y, z] = positions.subarray(3 * i, 3 * i + 3);
    found[i] = step * (pose[2] * x + pose[6] * y + pose[10] * z);
  }
  return found;
}

/** The value below which a share of the values is. */
function quantile(values, share) {
  const sorted = Float32Array.from(values).sort();
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}

/** Colours [256 x 3] of the values of a colouring. */
function paletteOf({ name, classes }) {
  const colours = new Uint8Array(768);
  for (let i = 0; i < 256; i++) colours.set(UNKNOWN, 3 * i);
  if (classes) {
    for (const { id, colour } of classes) colours.set(colour, 3 * id);
  } else if (RAMPS[name]) {
    const stops = RAMPS[name].map(parts);
    for (let i = 0; i < 255; i++) {
      const place = (i / 254) * (stops.length - 1);
      const below = Math.min(Math.floor(place), stops.length - 2);
      const mix = (low, c) => low + (place - below) * (stops[below + 1][c] - low);
      colours.set(stops[below].map(mix), 3 * i);
    }
  }
  return colours;
}

/** Triangles of a flat band of a width along positions. */
function band(positions, width) {
  const corners = [];
  for (let i = 1; i < positions.length; i++) {
    const [a, b] = [positions[i - 1], positions[i]];
    const along = subtract(b, a);
    const aside = unit([-along[1], along[0], 0]).map((v) => (v * width) / 2);
    const [p, q] = [subtract(a, aside), subtract(b, aside)];
    const [r, s] = [a.map((v, k) => v + aside[k]), b.map((v, k) => v + aside[k])];
    corners.push(...p, ...q, ...r, ...r, ...q, ...s);
  }
  return corners;
}

class Report {
  constructor(description, bytes) {
    this.description = description;
    this.hidden = Object.fromEntries(GROUPS.map((name) => [name, new Set()]));
    this.index = 0;
    this.colouring = description.colourings[0];
    this.charts = [];
    this.clouds = description.clouds.map((cloud) => ({
      ...cloud,
      ...unpack(bytes, cloud, description.columns),
    }));
    this.voxels = description.map && {
      ...description.map,
      ...unpack(bytes, description.map, ["label"]),
    };
  }

  /** Begin; the charts work even if the view does not. */
  start() {
    this._drawCharts();
    if (this.voxels) this._drawOverview();
    if (!this.clouds.length) {
      this._fail("No cloud was labelled.");
      return;
    }
    try {
      this._startView();
    } catch (error) {
      this._fail(`${error.message} The charts and tables below do not need it.`);
      return;
    }
    this._startControls();
    this._startPointer();
    this._colourBy(this.colouring);
    this.show(0);
    this._settle(1);
  }

  _fail(text) {
    byId("message").textContent = text;
    byId("message").hidden = false;
    byId("viewer").classList.add("failed");
  }

  _startView() {
    const scene = new Scene(byId("view"));
    const sample = this.clouds[Math.floor(this.clouds.length / 2)];
    const ranges = [];
    const sum = [0, 0, 0];
    for (let i = 0; i < sample.shown; i++) {
      const point = sample.positions.subarray(3 * i, 3 * i + 3);
      ranges.push(sample.step * Math.hypot(...point));
      sum.forEach((_, k) => (sum[k] += sample.step * point[k]));
    }
    // The middle of the points: the sensor of a LiDAR, a place before a camera.
    this.middle = sum.map((v) => v / Math.max(sample.shown, 1));
    this.home = Math.max(1.6 * quantile(ranges, 0.6), 2);
    scene.reset(this.home);
    const all = this.clouds.map(heights);
    const every = Math.ceil(all.length / 10);
    const some = all.flatMap((values, i) => (i % every ? [] : [...values]));
    const [low, high] = [quantile(some, 0.02), quantile(some, 0.98)];
    this.clouds.forEach((cloud, i) => {
      const share = (z) => Math.min(Math.max((z - low) / (high - low || 1), 0), 1);
      cloud.columns.height = Uint8Array.from(all[i], (z) => Math.round(254 * share(z)));
      cloud.drawn = scene.cloud(cloud.positions, cloud.columns, cloud.step, cloud.pose);
    });
    const height = this.description.colourings.find(({ name }) => name === "height");
    Object.assign(height, { low: `${low.toFixed(1)} m`, high: `${high.toFixed(1)} m` });
    if (this.voxels) {
      const { positions, columns, step, pose } = this.voxels;
      this.voxels.drawn = scene.cloud(positions, columns, step, pose);
    }
    this.path = this.clouds.map(({ pose }) => pose.slice(12, 15));
    const length = 0.05 * this.home;
    const arrow = [length, 0, 0, -length, 0.6 * length, 0, -length, -0.6 * length, 0];
    this.arrow = scene.shape(arrow, [1, 1, 1]);
    if (this.description.follows) {
      this.track = scene.shape(band(this.path, 0.006 * this.home), [1, 1, 1]);
      this.track.pose = new Float32Array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
    }
    this.scene = scene;
    this._readTheme();
    bright.addEventListener("change", () => this._readTheme());
    new ResizeObserver(() => this._redraw()).observe(scene.canvas);
  }

  _readTheme() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => parts(style.getPropertyValue(name).trim()).map((v) => v / 255);
    this.scene.background = { ground: colour("--ground"), horizon: colour("--horizon") };
    const tint = colour("--path");
    for (const shape of [this.arrow, this.track]) if (shape) shape.tint = tint;
    this._redraw();
  }

  /** Show the cloud of an index. */
  show(index) {
    this.index = Math.min(Math.max(index, 0), this.clouds.length - 1);
    const cloud = this.clouds[this.index];
    const time = this.description.timed ? ` · ${cloud.place.toFixed(1)} s` : "";
    const text = `${cloud.title}${time} · ${number(cloud.shown)} of ${number(cloud.points)} points`;
    byId("slider").value = this.index;
    byId("slider").setAttribute("aria-valuetext", text);
    byId("caption").textContent = text;
    byId("view").setAttribute("aria-label", `Point cloud: ${text}`);
    for (const chart of this.charts) chart.moveTo(cloud.place);
    this._countClasses();
    this._settle();
  }

  /** Turn the camera to the cloud, at once or smoothly, and draw. */
  _settle(share) {
    if (byId("follow").checked) {
      const { pose } = this.clouds[this.index];
      const turned = [0, 1, 2].map((i) => dot([pose[i], pose[4 + i], pose[8 + i]], this.middle));
      this.goal = turned.map((v, i) => v + pose[12 + i]);
      // Of a sensor that looks along x, or along z as cameras do.
      const ahead = Math.abs(pose[10]) > 0.5 ? [pose[0], pose[1]] : [pose[8], pose[9]];
      this.goalHeading = this.description.follows ? Math.atan2(ahead[1], ahead[0]) : 0;
    }
    this.settling = share ?? (calm.matches ? 1 : 0);
    this._redraw();
  }

  _redraw() {
    this.pending ??= requestAnimationFrame((now) => {
      this.pending = null;
      this._draw(now);
    });
  }

  _draw(now) {
    const passed = (now - (this.last ?? now)) / 1000;
    this.last = now;
    const scene = this.scene;
    const away = subtract(this.goal, scene.target);
    let turn = this.goalHeading - scene.heading;
    turn -= 2 * Math.PI * Math.round(turn / (2 * Math.PI));
    const settled = Math.hypot(...away) < 1e-3 * this.home && Math.abs(turn) < 1e-3;
    const share = settled ? 1 : Math.max(this.settling, 1 - Math.exp(-passed / EASE));
    scene.target = scene.target.map((v, i) => v + share * away[i]);
    scene.heading += share * turn;
    scene.draw(this._layers(), this._shapes());
    this._drawRuler();
    scene.canvas.dataset.cloud = this.index;
    scene.canvas.dataset.settled = share === 1;
    if (share < 1) this._redraw();
    else this.last = null;
  }

  /** The cloud, past ones that fade, and the map. */
  _layers() {
    const { name } = this.colouring;
    const direct = name === "colour";
    const size = 0.0045 * this.home;
    const past = this.description.follows ? Number(byId("trail").value) : 0;
    const first = Math.max(this.index - past, 0);
    const layers = this.clouds.slice(first, this.index + 1).map(({ drawn }, i, { length }) => {
      const age = length - 1 - i;
      return { cloud: drawn, column: name, direct, fade: (0.7 * age) / (past + 1), size };
    });
    if (this.voxels && byId("map").checked) {
      const cloud = this.voxels.drawn;
      layers.push({ cloud, column: name, direct, fade: 0.25, size: 0.7 * this.voxels.size });
    }
    return layers;
  }

  _shapes() {
    const { pose } = this.clouds[this.index].drawn;
    return [{ ...this.arrow, pose }, ...(this.track ? [this.track] : [])];
  }

  /** A bar of a round number of metres. */
  _drawRuler() {
    const metres = this.scene.metresPerPixel();
    const step = roundStep(120 * metres, 1) / 2;
    byId("ruler").firstElementChild.textContent = `${Number(step.toPrecision(2))} m`;
    byId("ruler").lastElementChild.style.width = `${step / metres}px`;
  }

  _startControls() {
    const { colourings, follows } = this.description;
    const buttons = colourings.map((colouring, i) => {
      const made = element("button", { type: "button", title: `Key ${i + 1}` }, [colouring.title]);
      made.addEventListener("click", () => this._colourBy(colouring));
      return made;
    });
    byId("colourings").append(...buttons);
    for (const preset of ["behind", "above", "side"]) {
      byId(preset).addEventListener("click", () => {
        this.scene.look(preset);
        this._redraw();
      });
    }
    byId("all").addEventListener("click", () => this._fill());
    byId("all").hidden = !document.fullscreenEnabled;
    byId("trail-option").hidden = byId("follow-option").hidden = !follows;
    byId("map-option").hidden = !this.voxels;
    byId("trail").value = Math.round(ENOUGH / Math.max(this.clouds[0].shown, 1)) - 1;
    byId("slider").max = this.clouds.length - 1;
    byId("player").hidden = this.clouds.length < 2;
    byId("speed").hidden = !follows;
    byId("slider").addEventListener("input", (event) => this.show(Number(event.target.value)));
    byId("play").addEventListener("click", () => this._play(!this.playing));
    byId("size").addEventListener("input", (event) => {
      this.scene.pointSize = Number(event.target.value);
      this._redraw();
    });
    for (const id of ["trail", "map"]) byId(id).addEventListener("input", () => this._redraw());
    byId("follow").addEventListener("input", () => this._settle());
    byId("show-all").addEventListener("click", () => this._hide([]));
    byId("show-none").addEventListener("click", () => this._hide(this.legend.map(({ id }) => id)));
    document.addEventListener("keydown", (event) => this._key(event));
  }

  _key(event) {
    const { key, target } = event;
    const own = target.matches("select, input[type=range]") && !["a", "b", "s", "f"].includes(key);
    if (event.ctrlKey || event.altKey || event.metaKey || own) return;
    if (key === " " && target.matches("button, input")) return;
    const { colourings } = this.description;
    const actions = {
      " ": () => this._play(!this.playing),
      ArrowLeft: () => this.show(this.index - 1),
      ArrowRight: () => this.show(this.index + 1),
      ArrowUp: () => this._zoom(0.9),
      ArrowDown: () => this._zoom(1 / 0.9),
      a: () => byId("above").click(),
      b: () => byId("behind").click(),
      s: () => byId("side").click(),
      f: () => this._fill(),
    };
    const action =
      actions[key] ?? (colourings[key - 1] && (() => this._colourBy(colourings[key - 1])));
    const needsView = key === "ArrowUp" || key === "ArrowDown"; // elsewhere they scroll the page
    if (!action || (needsView && target.id !== "view")) return;
    event.preventDefault();
    action();
  }

  _fill() {
    if (document.fullscreenElement) document.exitFullscreen();
    else byId("viewer").requestFullscreen();
  }

  _zoom(factor) {
    this.scene.zoom(factor);
    this._redraw();
  }

  _startPointer() {
    const canvas = this.scene.canvas;
    const pointers = new Map();
    const spread = () => {
      const [a, b] = pointers.values();
      return Math.hypot(a.x - b.x, a.y - b.y);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const [right, down] = [event.clientX - before.x, event.clientY - before.y];
      const apart = pointers.size === 2 ? spread() : 0;
      Object.assign(before, { x: event.clientX, y: event.clientY });
      if (pointers.size === 2) {
        this.scene.zoom(apart / spread());
        this.scene.pan(right / 2, -down / 2);
      } else if (event.buttons & 6 || event.shiftKey) this.scene.pan(right, -down);
      else this.scene.turn(-0.006 * right, 0.006 * down);
      this._redraw();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this._zoom(Math.exp(0.0012 * event.deltaY));
      },
      { passive: false },
    );
  }

  _play(on) {
    this.playing = on;
    byId("play").textContent = on ? "❚❚" : "▶";
    byId("play").setAttribute("aria-label", on ? "Pause" : "Play");
    clearTimeout(this.timer);
    if (!on) return;
    const last = this.clouds.length - 1;
    const next = this.index === last ? 0 : this.index + 1;
    const { follows, timed } = this.description;
    const gap = timed && next ? this.clouds[next].place - this.clouds[this.index].place : 0.1;
    const wait = follows ? Math.min(Math.max(gap, 0.05), 2) / Number(byId("speed").value) : 1.5;
    this.timer = setTimeout(() => {
      this.show(next);
      this._play(next !== last || !follows);
    }, 1000 * wait);
  }

  _colourBy(colouring) {
    this.colouring = colouring;
    [...byId("colourings").children].forEach((button, i) => {
      button.setAttribute("aria-pressed", this.description.colourings[i] === colouring);
    });
    const palette = paletteOf(colouring);
    this.scene.setPalette(palette);
    byId("legend-title").textContent = colouring.title;
    const ramp = byId("ramp");
    ramp.hidden = !RAMPS[colouring.name];
    if (!ramp.hidden) {
      const image = new ImageData(256, 1);
      for (let i = 0; i < 256; i++) {
        const j = 3 * Math.min(i, 254);
        image.data.set([...palette.subarray(j, j + 3), 255], 4 * i);
      }
      ramp.children[0].getContext("2d").putImageData(image, 0, 0);
      ramp.children[1].textContent = colouring.low;
      ramp.children[2].textContent = colouring.high;
    }
    // Ramps have no classes of their own: the labels filter.
    const group = colouring.classes ? colouring : this.description.colourings[0];
    this.group = group.name;
    this.legend = group.classes;
    this.rows = this.legend.map((entry) => this._row(entry));
    byId("classes").replaceChildren(...this.rows.map(({ item }) => item));
    this._hide(this.hidden[this.group]);
  }

  _row({ id, name, colour }) {
    const swatch = element("i", { class: "swatch" });
    swatch.style.background = rgb(colour);
    const share = element("span", { class: "share" });
    const title = "Click to hide or show; twice, or with Shift, to see only this";
    const button = element("button", { type: "button", title }, [
      swatch,
      element("span", { class: "name" }, [name]),
      share,
    ]);
    const only = () => {
      const others = this.legend.map((each) => each.id).filter((other) => other !== id);
      const alone = others.every((other) => this.hidden[this.group].has(other));
      this._hide(alone ? [] : others);
    };
    button.addEventListener("click", (event) => {
      if (event.shiftKey) return only();
      const hidden = new Set(this.hidden[this.group]);
      if (!hidden.delete(id)) hidden.add(id);
      this._hide(hidden);
    });
    button.addEventListener("dblclick", only);
    return { id, item: element("li", {}, [button]), button, share };
  }

  /** Hide the points with these ids in the present group, and no others of it. */
  _hide(ids) {
    this.hidden[this.group] = new Set(ids);
    const shown = new Uint8Array(3 * 256).fill(255);
    GROUPS.forEach((name, row) => {
      for (const id of this.hidden[name]) shown[256 * row + id] = 0;
    });
    this.scene.setShown(shown);
    for (const { id, button } of this.rows) {
      button.setAttribute("aria-pressed", !this.hidden[this.group].has(id));
    }
    for (const chart of this.charts) chart.fade(({ id }) => this.hidden.label.has(id));
    this._countClasses();
    this._redraw();
  }

  _countClasses() {
    const counts = this.clouds[this.index].counts[this.group] ?? {};
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0) || 1;
    for (const { id, share } of this.rows) {
      const count = counts[id] ?? 0;
      share.textContent = count ? percent(count / total) : "";
    }
  }

  _drawCharts() {
    const { timeline, timed, colourings } = this.description;
    const { places, shares, latency, slowest, score, dropped } = timeline;
    if (!places.length) return;
    const common = {
      places,
      placeName: timed ? (v) => `${Number(v.toFixed(2))} s` : (v) => `${Math.round(v) + 1}`,
      marks: dropped,
      chosen: (place) => this.scene && this._seek(place),
    };
    const add = (id, options) => {
      byId(id).hidden = false;
      this.charts.push(new Chart(byId(id), { ...common, ...options }));
    };
    const classes = colourings[0].classes.filter(({ id }) => shares[id]);
    const stack = classes.map(({ id, name, colour }) => {
      return { id, name, colour: rgb(colour), values: shares[id], format: percent };
    });
    if (stack.length) add("shares", { series: stack, stacked: true, top: 1 });
    const line = (name, values, format, colour) => ({ name, values, format, colour });
    if (score.some((value) => value !== null)) {
      const format = (value) => value.toFixed(2);
      add("scores", { series: [line("mIoU", score, format, "var(--accent)")], top: 1 });
    }
    if (slowest.some((value) => value > 0)) {
      const format = (value) => `${number(Math.round(value))} ms`;
      const series = [line("mean", latency, format, "var(--accent)")];
      const varies = slowest.some((value, i) => value > 1.001 * latency[i]);
      if (varies) series.unshift(line("slowest", slowest, format, "var(--second)"));
      add("latency", { series });
    }
  }

  /** Show the cloud that is nearest to a place on the axis of the charts. */
  _seek(place) {
    const away = this.clouds.map((cloud) => Math.abs(cloud.place - place));
    this.show(away.indexOf(Math.min(...away)));
  }

  /** Draw the map from above: the highest voxel of each column, and the path. */
  _drawOverview() {
    const { positions, columns, step, pose, size, shown } = this.voxels;
    const palette = paletteOf(this.description.colourings[0]);
    const cells = [];
    for (let i = 0; i < shown; i++) {
      const [x, y, z] = positions.subarray(3 * i, 3 * i + 3);
      cells.push([x * step + pose[12], y * step + pose[13], z, columns.label[i]]);
    }
    const bound = (k, share) => quantile(Float32Array.from(cells, (cell) => cell[k]), share);
    const least = [0, 1].map((k) => bound(k, 0.005));
    const most = [0, 1].map((k) => bound(k, 0.995)); // without what few rays saw far away
    const upright = most[1] - least[1] > most[0] - least[0]; // the longer side lies
    const along = upright ? (x, y) => y - least[1] : (x, y) => x - least[0];
    const across = upright ? (x) => x - least[0] : (x, y) => most[1] - y;
    const spans = most.map((high, k) => Math.round((high - least[k]) / size) + 1);
    const [width, height] = upright ? spans.reverse() : spans;
    const image = new ImageData(width, height);
    for (const [x, y, , label] of cells.sort((a, b) => a[2] - b[2])) {
      const [column, row] = [along(x, y), across(x, y)].map((v) => Math.round(v / size));
      if (column < 0 || column >= width || row < 0 || row >= height) continue;
      const at = row * width + column;
      image.data.set([...palette.subarray(3 * label, 3 * label + 3), 255], 4 * at);
    }
    byId("overview").hidden = false;
    const canvas = byId("overview").querySelector("canvas");
    const scale = Math.max(1, Math.ceil(1200 / width));
    canvas.width = scale * width;
    canvas.height = scale * height;
    const context = canvas.getContext("2d");
    const small = new OffscreenCanvas(width, height);
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    const pixels = (metres) => scale * (metres / size + 0.5);
    context.beginPath();
    for (const { pose } of this.clouds) {
      const [x, y] = pose.slice(12);
      context.lineTo(pixels(along(x, y)), pixels(across(x, y)));
    }
    context.lineWidth = canvas.width / 250;
    context.setLineDash([3 * context.lineWidth, 2 * context.lineWidth]);
    context.strokeStyle = bright.matches ? "#111" : "#fff";
    context.stroke();
    const metres = `${Math.round(width * size)} m by ${Math.round(height * size)} m`;
    byId("overview").append(element("output", { class: "values" }, [metres]));
  }
}

const bytes = decode(byId("points").textContent);
byId("points").remove();
new Report(JSON.parse(byId("description").textContent), bytes).start();
