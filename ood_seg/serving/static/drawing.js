"use strict";
// Layers, boxes and thumbnails on canvases.

// Stops of a map that rises from dark to bright (inferno), as in the figures of the package.
const STOPS = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21],
  [250, 193, 39], [252, 255, 164]];
// Those of the overlays of `infer` (perception/core/overlay.py).
const FLAGGED = [255, 20, 190], EDGE = [255, 245, 80], BORDER = packed([60, 190, 255], 220);
const CONTOURS = { decision: EDGE, heat: [0, 220, 255], classes: [255, 255, 255], image: FLAGGED };

// A pixel of ImageData as one number, in the byte order of all browsers' machines.
function packed([red, green, blue], alpha) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function heatColour(unit) {
  const x = Math.min(Math.max(unit, 0), 1) * (STOPS.length - 1);
  const i = Math.min(Math.floor(x), STOPS.length - 2);
  return STOPS[i].map((from, k) => Math.round(from + (STOPS[i + 1][k] - from) * (x - i)));
}

// Whether a pixel of a mask lies on its edge: within `reach` pixels of one outside, or of the border.
function onEdge(mask, at, x, width, reach) {
  return x < reach || x >= width - reach || !mask[at - reach] || !mask[at + reach]
    || !mask[at - reach * width] || !mask[at + reach * width];
}

function layerColours(layer, maps, { low, high, opacity, model }) {
  const alpha = Math.round(255 * opacity);
  if (layer === "heat") {
    const table = Uint32Array.from({ length: 256 }, (_, i) => packed(heatColour(i / 255), alpha));
    const factor = 255 / (high - low);
    return (at) => table[Math.min(Math.max(Math.round((maps.scores[at] - low) * factor), 0), 255)];
  }
  if (layer === "classes") {
    const table = model.colours.map((colour) => packed(colour, alpha));
    return (at) => table[maps.labels[at]] ?? 0;
  }
  return () => 0;
}

// The layer over an image: colours, flagged pixels with their contour, the border of the region.
function layerImage(maps, flagged, view, reach) {
  const { width, height, region } = maps, image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer), colourAt = layerColours(view.layer, maps, view);
  const tint = packed(FLAGGED, Math.round(255 * view.opacity)), contour = packed(CONTOURS[view.layer], 255);
  const decision = view.layer === "decision";
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++, at++) {
      if (flagged[at] && view.contours && onEdge(flagged, at, x, width, reach)) pixels[at] = contour;
      else if (flagged[at] && decision) pixels[at] = tint;
      else if (region && region[at] && view.contours && onEdge(region, at, x, width, reach)) pixels[at] = BORDER;
      else pixels[at] = colourAt(at);
    }
  return image;
}

const layerCanvas = document.createElement("canvas");

// Draw an entry with its layer, boxes and labels; `scale` is the number of image pixels of a CSS pixel.
function drawEntry(canvas, { bitmap, maps }, decision, view, scale) {
  const { width, height } = maps, context = canvas.getContext("2d");
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.drawImage(bitmap, 0, 0, width, height);
  Object.assign(layerCanvas, { width, height });
  const reach = Math.max(1, Math.round(1.5 * scale));
  layerCanvas.getContext("2d").putImageData(layerImage(maps, decision.flagged, view, reach), 0, 0);
  context.drawImage(layerCanvas, 0, 0);
  if (view.boxes) drawBoxes(context, decision.objects, view, scale);
}

function titleOf(one) {
  return `${one.kind === "scene" ? "scene unknown" : "unknown"} ${valueText(one)}`;
}

function valueText(one) {
  return one.probability === null ? one.mean_score.toPrecision(3) : `${Math.round(100 * one.probability)} %`;
}

// Boxes with their labels. A label that finds no place of its own is left out; the list has it.
function drawBoxes(context, objects, { selected }, scale) {
  const { width, height } = context.canvas, size = 12 * scale, taken = [];
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const [index, { kind, box: [left, top, wide, high] }] of objects.entries()) {
    const bold = index === selected;
    if (kind === "scene" && !bold) continue;  // too large to be one object
    for (const [colour, line] of [["#000c", bold ? 5 : 3], [bold ? "#ffe14d" : "#fff", bold ? 3 : 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = line * scale;
      context.strokeRect(left, top, wide, high);
    }
  }
  for (const [index, one] of objects.entries()) {
    const [left, top, wide, high] = one.box, bold = index === selected;
    const texts = [`${index + 1}  ${titleOf(one)}`, `${index + 1}  ${valueText(one)}`];
    const roomy = bold || objects.length <= 8 || context.measureText(texts[0]).width + size <= wide;
    const text = texts[roomy ? 0 : 1];
    const label = { wide: context.measureText(text).width + size, high: 1.5 * size };
    const x = Math.min(Math.max(left, 0), Math.max(width - label.wide, 0));
    const places = [top - label.high, top + high, top, top + high - label.high];
    const y = places.find((y) => y >= 0 && y + label.high <= height && taken.every((other) =>
      x >= other.x + other.wide || x + label.wide <= other.x || y >= other.y + other.high || y + label.high <= other.y));
    if (y === undefined) continue;
    taken.push({ x, y, ...label });
    context.fillStyle = bold ? "#ffe14d" : "#fffe";
    context.fillRect(x, y, label.wide, label.high);
    context.fillStyle = "#000";
    context.fillText(text, x + size / 2, y + label.high / 2);
  }
}

// Part of an image, with its surroundings, filling a small canvas.
function cropCanvas(bitmap, [left, top, wide, high], width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const whole = Math.max(width / bitmap.width, height / bitmap.height);
  const scale = Math.max(Math.min(width / (1.4 * wide), height / (1.4 * high), 4), whole);
  const [w, h] = [width / scale, height / scale];
  const inside = (from, size, all) => (size >= all ? (all - size) / 2 : Math.min(Math.max(from, 0), all - size));
  const x = inside(left + wide / 2 - w / 2, w, bitmap.width), y = inside(top + high / 2 - h / 2, h, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, x, y, w, h, 0, 0, width, height);
  return canvas;
}
