// Copyright 2026 The minkowski_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// Figures over time as SVG: a stack of shares, or lines; with a cursor, and values at the pointer.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 150;

/** Make an element with attributes, text and children. */
function element(name, attributes = {}, children = [], space = null) {
  const made = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const svg = (name, attributes, children) => element(name, attributes, children, SVG);
const rgb = (colour) => `rgb(${colour.join(",")})`;

/** A step of 1, 2 or 5 times a power of ten, of which a range has about `count`. */
function roundStep(range, count) {
  const power = 10 ** Math.floor(Math.log10(range / count));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step * count >= range);
}

/** Index of the last place that is not above a value; places ascend. */
function indexAt(places, value) {
  const next = places.findIndex((place) => place > value);
  return next < 0 ? places.length - 1 : Math.max(next - 1, 0);
}

/** The lines of an SVG path through points; null values interrupt it. */
function lines(points) {
  let pen = "M";
  return points
    .map(([x, y]) => {
      if (y === null) {
        pen = "M";
        return "";
      }
      const part = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
      return part;
    })
    .join("");
}

class Chart {
  /**
   * A chart in a figure of the page.
   *
   * `series`: {name, colour, values, format}, values by place, null where unknown; of a stack, shares.
   * `stacked`: whether shares are stacked. `top`: the largest value, or the largest of the series.
   * `marks`: numbers by place that are marked below the axis, 0 for none.
   * `placeName`: of a place, as text. `chosen(place)` is called for a place that is clicked.
   */
  constructor(figure, { places, series, stacked, top, marks, placeName, chosen }) {
    Object.assign(this, { figure, places, series, stacked, marks, placeName });
    this.first = places[0];
    this.last = Math.max(places.at(-1), this.first + 1e-6);
    const largest = Math.max(...series.flatMap(({ values }) => values.map((v) => v ?? 0)));
    this.top = top ?? (1.1 * largest || 1);
    this.cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT });
    this.plot = svg("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `${figure.querySelector("figcaption").textContent}: ${this._described()}`,
    });
    this.paths = series.map((each) => this._path(each));
    this.plot.append(...this.paths, ...this._markers(), this.cursor);
    this.values = element("output", { class: "values" });
    figure.append(
      element("div", { class: "plot" }, [this._scale(), this.plot, this._axis()]),
      this.values,
    );
    this.plot.addEventListener("pointermove", (event) => this._show(this._placeOf(event)));
    this.plot.addEventListener("pointerleave", () => this._show(this.at));
    this.plot.addEventListener("click", (event) => chosen(this._placeOf(event)));
  }

  /** Move the cursor. */
  moveTo(place) {
    this.at = place;
    const x = this._x(Math.min(Math.max(place, this.first), this.last));
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this._show(place);
  }

  /** Fade the series for which `faded(series)` holds. */
  fade(faded) {
    this.series.forEach((each, i) => this.paths[i].classList.toggle("faded", faded(each)));
  }

  _x(place) {
    return (WIDTH * (place - this.first)) / (this.last - this.first);
  }

  _y(value) {
    return HEIGHT * (1 - Math.min(value / this.top, 1));
  }

  _placeOf(event) {
    const box = this.plot.getBoundingClientRect();
    return this.first + ((event.clientX - box.left) / box.width) * (this.last - this.first);
  }

  _path({ name, colour, values }) {
    const title = svg("title", {}, [name]);
    // A single interval fills the width.
    const places = this.places.length > 1 ? this.places : [this.first, this.last];
    if (!this.stacked) {
      const points = places.map((place, i) => [
        this._x(place),
        values[Math.min(i, values.length - 1)],
      ]);
      const scaled = points.map(([x, v]) => [x, v === null ? null : this._y(v)]);
      return svg("path", { d: lines(scaled), class: "line", stroke: colour }, [title]);
    }
    this.below ??= this.places.map(() => 0);
    const lower = this.below;
    this.below = lower.map((v, i) => v + values[i]);
    const edge = (heights) =>
      places.flatMap((place, i) => {
        const at = Math.min(i, heights.length - 1);
        return values[at] === null ? [] : [[this._x(place), this._y(heights[at])]];
      });
    const outline = [...edge(this.below), ...edge(lower).reverse()];
    return svg("path", { d: `${lines(outline)}Z`, fill: colour }, [title]);
  }

  _markers() {
    const marked = this.marks.flatMap((count, i) => (count ? [[this.places[i], count]] : []));
    return marked.map(([place, count]) => {
      const x = this._x(place);
      const title = svg("title", {}, [`${count} dropped`]);
      return svg("path", { d: `M${x} ${HEIGHT}l-5 0l5 -14l5 14Z`, class: "mark" }, [title]);
    });
  }

  _scale() {
    const { format } = this.series[0];
    return element("div", { class: "scale", "aria-hidden": "true" }, [
      element("span", {}, [format(this.top)]),
      element("span", {}, [format(this.top / 2)]),
      element("span", {}, [format(0)]),
    ]);
  }

  _axis() {
    const step = roundStep(this.last - this.first, 6);
    const ticks = [];
    for (let i = Math.ceil(this.first / step - 1e-6); i * step <= this.last; i++) {
      const tick = element("span", {}, [this.placeName(i * step)]);
      tick.style.left = `${(100 * this._x(i * step)) / WIDTH}%`;
      ticks.push(tick);
    }
    return element("div", { class: "axis", "aria-hidden": "true" }, ticks);
  }

  _show(place) {
    if (place === undefined) return;
    const i = indexAt(this.places, place);
    const parts = this.series
      .filter(({ values }) => values[i] !== null && (!this.stacked || values[i] >= 0.005))
      .sort((a, b) => (this.stacked ? b.values[i] - a.values[i] : 0))
      .slice(0, 6)
      .map(({ name, colour, values, format }) => {
        const swatch = element("i", { class: "swatch" });
        swatch.style.background = colour;
        return element("span", {}, [swatch, `${name} ${format(values[i])}`]);
      });
    if (this.marks[i]) parts.push(element("span", {}, [`${this.marks[i]} dropped`]));
    this.values.replaceChildren(element("b", {}, [this.placeName(this.places[i])]), ...parts);
  }

  _described() {
    return this.series
      .map(({ name, values, format }) => {
        const known = values.filter((value) => value !== null);
        const mean = known.reduce((sum, value) => sum + value, 0) / Math.max(known.length, 1);
        return `${name} ${format(mean)} on average`;
      })
      .join(", ");
  }
}
