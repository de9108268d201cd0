// Copyright 2026 The minkowski_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// The 3D view: clouds of points by WebGL 2, shaded by the depth of their neighbours (eye-dome
// lighting, Boucheny 2009), the sensor's path, and a camera that turns around a target.

const POINT_VERTEX = `#version 300 es
in vec3 position;
in float value, label, truth, agreement;
in vec3 rgb;
uniform mat4 model, camera;
uniform float step, size, fade;
uniform bool direct;
uniform sampler2D palette, shown;
uniform vec3 ground;
out vec3 colour;

bool hidden(float id, int row) { return texelFetch(shown, ivec2(int(id), row), 0).r == 0.0; }

void main() {
  gl_Position = camera * model * vec4(position * step, 1.0);
  gl_PointSize = clamp(size / gl_Position.w, 1.6, 40.0);
  vec3 own = direct ? rgb : texelFetch(palette, ivec2(int(value), 0), 0).rgb;
  colour = mix(own, ground, fade);
  if (hidden(label, 0) || hidden(truth, 1) || hidden(agreement, 2)) gl_Position = vec4(2.0);
}`;

const POINT_FRAGMENT = `#version 300 es
precision mediump float;
in vec3 colour;
out vec4 result;
void main() {
  vec2 across = 2.0 * gl_PointCoord - 1.0;
  if (dot(across, across) > 1.0) discard;
  result = vec4(colour, 1.0);
}`;

const SHAPE_VERTEX = `#version 300 es
in vec3 position;
uniform mat4 model, camera;
void main() { gl_Position = camera * model * vec4(position, 1.0); }`;

const SHAPE_FRAGMENT = `#version 300 es
precision mediump float;
uniform vec3 tint;
out vec4 result;
void main() { result = vec4(tint, 1.0); }`;

const SHADE_VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID % 2, gl_VertexID / 2) * 4.0 - 1.0, 0.0, 1.0); }`;

const SHADE_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D colours, depths;
uniform vec2 nearFar;
uniform vec3 ground, horizon;
uniform float reach;
out vec4 result;

float distanceAt(ivec2 place) {
  float depth = texelFetch(depths, place, 0).r;
  return nearFar.x * nearFar.y / (nearFar.y - depth * (nearFar.y - nearFar.x));
}

void main() {
  ivec2 place = ivec2(gl_FragCoord.xy), size = textureSize(depths, 0);
  if (texelFetch(depths, place, 0).r == 1.0) {
    result = vec4(mix(ground, horizon, gl_FragCoord.y / float(size.y)), 1.0);
    return;
  }
  float own = log2(distanceAt(place)), shade = 0.0;
  for (int i = 0; i < 8; i++) {
    vec2 turn = vec2(cos(float(i) * 0.7854), sin(float(i) * 0.7854));
    ivec2 beside = clamp(place + ivec2(round(reach * turn)), ivec2(0), size - 1);
    shade += max(0.0, own - log2(distanceAt(beside)));
  }
  result = vec4(texelFetch(colours, place, 0).rgb * exp(-6.0 * min(shade / 8.0, 0.2)), 1.0);
}`;

const FIELD_OF_VIEW = 0.9; // radians, vertical
const NEAR = 0.1;
const FAR = 3000;
const STEEPEST = Math.PI / 2 - 0.001;
const PRESETS = { behind: [0, 0.42], above: [0, STEEPEST], side: [Math.PI / 2, 0.3] };

/** Product of matrices of 4 x 4, column by column. */
function multiply(a, b) {
  const product = new Float32Array(16);
  for (let column = 0; column < 4; column++) {
    for (let row = 0; row < 4; row++) {
      for (let k = 0; k < 4; k++) product[4 * column + row] += a[4 * k + row] * b[4 * column + k];
    }
  }
  return product;
}

const subtract = (a, b) => a.map((value, i) => value - b[i]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
const unit = (a) => a.map((value) => value / (Math.hypot(...a) || 1));

class Scene {
  /** Throws an Error if the browser has no WebGL 2. */
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("This browser has no WebGL 2.");
    this.gl = gl;
    this.canvas = canvas;
    this.points = this._program(POINT_VERTEX, POINT_FRAGMENT);
    this.shapes = this._program(SHAPE_VERTEX, SHAPE_FRAGMENT);
    this.shade = this._program(SHADE_VERTEX, SHADE_FRAGMENT);
    this.palette = this._texture(gl.RGBA8, 256, 1);
    this.shown = this._texture(gl.R8, 256, 3);
    this.nothing = gl.createVertexArray();
    this.frame = gl.createFramebuffer();
    this.background = { ground: [0, 0, 0], horizon: [0, 0, 0] };
    this.pointSize = 1;
    this.target = [0, 0, 0];
    this.heading = 0;
    this.reset(20);
  }

  /** Look at the target from a distance in metres, from behind and above. */
  reset(distance) {
    this.home = distance;
    this.offset = [0, 0, 0];
    this.look("behind");
  }

  look(preset) {
    [this.yaw, this.pitch] = PRESETS[preset];
    this.offset = [0, 0, 0];
    this.distance = preset === "above" ? 1.5 * this.home : this.home;
  }

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.min(Math.max(this.pitch + pitch, -STEEPEST), STEEPEST);
  }

  zoom(factor) {
    this.distance = Math.min(Math.max(this.distance * factor, 1), 1000);
  }

  /** Move the target by pixels on the screen. */
  pan(right, up) {
    const metres = this.metresPerPixel();
    const { x, y } = this._axes();
    this.offset = this.offset.map((v, i) => v - metres * (right * x[i] + up * y[i]));
  }

  metresPerPixel() {
    return (2 * this.distance * Math.tan(FIELD_OF_VIEW / 2)) / this.canvas.clientHeight;
  }

  /** Upload a cloud: Int16Array of x, y, z in steps, and Uint8Arrays by name. */
  cloud(positions, columns, step, pose) {
    const gl = this.gl;
    const buffer = (data) => {
      const made = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, made);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
      return made;
    };
    const buffers = Object.entries(columns).map(([name, data]) => [name, buffer(data)]);
    return {
      count: positions.length / 3,
      step,
      pose: new Float32Array(pose),
      positions: buffer(positions),
      columns: Object.fromEntries(buffers),
      arrays: new Map(),
    };
  }

  /** Upload triangles: x, y, z of each corner. */
  shape(corners, tint) {
    const gl = this.gl;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(corners), gl.STATIC_DRAW);
    const place = gl.getAttribLocation(this.shapes.program, "position");
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 0, 0);
    return { array, count: corners.length / 3, tint };
  }

  /** Set the colours [256 x 3] of the values that are coloured. */
  setPalette(colours) {
    const rgba = new Uint8Array(1024);
    for (let i = 0; i < 256; i++) rgba.set(colours.subarray(3 * i, 3 * i + 3), 4 * i);
    this._upload(this.palette, 256, 1, this.gl.RGBA, rgba);
  }

  /** Set which ids [3 x 256] of label, truth and agreement are shown: 255, or 0. */
  setShown(ids) {
    this._upload(this.shown, 256, 3, this.gl.RED, ids);
  }

  /** Draw layers {cloud, column, direct, fade, size}, and shapes {array, count, tint, pose}. */
  draw(layers, shapes) {
    const gl = this.gl;
    const [width, height] = this._resize();
    const camera = this._camera(width / height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, width, height);
    gl.enable(gl.DEPTH_TEST);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    this._drawPoints(layers, camera, height);
    this._drawShapes(shapes, camera);

    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.disable(gl.DEPTH_TEST);
    const at = this._use(this.shade, { colours: this.colours, depths: this.depths });
    gl.uniform2f(at.nearFar, NEAR, FAR);
    gl.uniform3fv(at.ground, this.background.ground);
    gl.uniform3fv(at.horizon, this.background.horizon);
    gl.uniform1f(at.reach, 1.5 * devicePixelRatio);
    gl.bindVertexArray(this.nothing);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  _drawPoints(layers, camera, height) {
    const gl = this.gl;
    const at = this._use(this.points, { palette: this.palette, shown: this.shown });
    gl.uniformMatrix4fv(at.camera, false, camera);
    gl.uniform3fv(at.ground, this.background.ground);
    const pixels = (height / (2 * Math.tan(FIELD_OF_VIEW / 2))) * this.pointSize;
    for (const { cloud, column, direct, fade, size } of layers) {
      gl.uniformMatrix4fv(at.model, false, cloud.pose);
      gl.uniform1f(at.step, cloud.step);
      gl.uniform1f(at.size, pixels * size);
      gl.uniform1f(at.fade, fade);
      gl.uniform1i(at.direct, direct ? 1 : 0);
      gl.bindVertexArray(this._array(cloud, column));
      gl.drawArrays(gl.POINTS, 0, cloud.count);
    }
  }

  _drawShapes(shapes, camera) {
    const gl = this.gl;
    const at = this._use(this.shapes);
    gl.uniformMatrix4fv(at.camera, false, camera);
    for (const { array, count, tint, pose } of shapes) {
      gl.uniformMatrix4fv(at.model, false, pose);
      gl.uniform3fv(at.tint, tint);
      gl.bindVertexArray(array);
      gl.drawArrays(gl.TRIANGLES, 0, count);
    }
  }

  /** Vertex array of a cloud whose points are coloured by a column. */
  _array(cloud, column) {
    if (cloud.arrays.has(column)) return cloud.arrays.get(column);
    const gl = this.gl;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const attribute = (name, buffer, size, type, otherwise) => {
      const place = gl.getAttribLocation(this.points.program, name);
      if (place < 0) return;
      if (!buffer) {
        gl.vertexAttrib3f(place, otherwise, otherwise, otherwise);
        return;
      }
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, type, name === "rgb", 0, 0);
    };
    attribute("position", cloud.positions, 3, gl.SHORT);
    attribute("value", cloud.columns[column], 1, gl.UNSIGNED_BYTE, 255);
    attribute("rgb", cloud.columns.colour, 3, gl.UNSIGNED_BYTE, 0.5);
    for (const name of ["label", "truth", "agreement"]) {
      attribute(name, cloud.columns[name], 1, gl.UNSIGNED_BYTE, 255);
    }
    cloud.arrays.set(column, array);
    return array;
  }

  _axes() {
    const yaw = this.yaw + this.heading;
    const level = Math.cos(this.pitch);
    const z = [-level * Math.cos(yaw), -level * Math.sin(yaw), Math.sin(this.pitch)];
    const x = unit(cross([0, 0, 1], z));
    return { x, y: cross(z, x), z };
  }

  /** Projection and view. */
  _camera(aspect) {
    const { x, y, z } = this._axes();
    const centre = this.target.map((value, i) => value + this.offset[i]);
    const eye = centre.map((value, i) => value + this.distance * z[i]);
    const view = [
      ...[x[0], y[0], z[0], 0, x[1], y[1], z[1], 0, x[2], y[2], z[2], 0],
      ...[-dot(x, eye), -dot(y, eye), -dot(z, eye), 1],
    ];
    const focal = 1 / Math.tan(FIELD_OF_VIEW / 2);
    const range = NEAR - FAR;
    const projection = [
      ...[focal / aspect, 0, 0, 0, 0, focal, 0, 0],
      ...[0, 0, (FAR + NEAR) / range, -1, 0, 0, (2 * FAR * NEAR) / range, 0],
    ];
    return multiply(projection, view);
  }

  /** Give the frame buffer the size of the canvas on the screen; return it in pixels. */
  _resize() {
    const gl = this.gl;
    const width = Math.max(1, Math.round(this.canvas.clientWidth * devicePixelRatio));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * devicePixelRatio));
    if (this.canvas.width === width && this.canvas.height === height && this.depths) {
      return [width, height];
    }
    this.canvas.width = width;
    this.canvas.height = height;
    gl.deleteTexture(this.colours ?? null);
    gl.deleteTexture(this.depths ?? null);
    this.colours = this._texture(gl.RGBA8, width, height);
    this.depths = this._texture(gl.DEPTH_COMPONENT24, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    for (const [place, texture] of [
      [gl.COLOR_ATTACHMENT0, this.colours],
      [gl.DEPTH_ATTACHMENT, this.depths],
    ]) {
      gl.framebufferTexture2D(gl.FRAMEBUFFER, place, gl.TEXTURE_2D, texture, 0);
    }
    return [width, height];
  }

  _texture(format, width, height) {
    const gl = this.gl;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
    }
    return texture;
  }

  _upload(texture, width, height, format, data) {
    const gl = this.gl;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, format, gl.UNSIGNED_BYTE, data);
  }

  /** Compile and link; `at` has the places of the uniforms by name. */
  _program(vertex, fragment) {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, vertex],
      [gl.FRAGMENT_SHADER, fragment],
    ]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      const logs = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader));
      throw new Error([gl.getProgramInfoLog(program), ...logs].join("\n"));
    }
    const at = {};
    for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
      const { name } = gl.getActiveUniform(program, i);
      at[name] = gl.getUniformLocation(program, name);
    }
    return { program, at };
  }

  /** Use a program, with textures by the names of its samplers; return its places. */
  _use({ program, at }, textures = {}) {
    const gl = this.gl;
    gl.useProgram(program);
    Object.entries(textures).forEach(([name, texture], unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(at[name], unit);
    });
    return at;
  }
}
