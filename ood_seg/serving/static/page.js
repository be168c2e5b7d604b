"use strict";
// The state of the page, and what changes it.

const state = {
  model: null, layer: "decision", threshold: null, point: "", minArea: 50, unit: "score",
  low: 0, high: 1, auto: true, opacity: 0.5, boxes: true, contours: true, selected: null,
  decision: null, bitmap: null, bitmapOf: null, playing: false, pending: false,
};
const queue = new EntryQueue(completed);
const shown = () => queue.entries[queue.current];
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// --- showing ---

async function display() {
  const entry = shown();
  showStrip(queue.entries, queue.current, show);
  document.body.classList.toggle("empty", !entry);
  byId("view").className = "";
  if (!entry) return showMessage("");
  byId("viewer").classList.toggle("waiting", !entry.maps);
  if (entry.error) return showMessage(`${entry.title}: ${entry.error}`, true);
  if (!entry.maps) return showMessage(`${entry.title}: the model is running ...`);
  if (state.bitmapOf !== entry) {
    const bitmap = await createImageBitmap(entry.blob);
    if (shown() !== entry || !entry.maps) return bitmap.close();  // another one was chosen meanwhile
    state.bitmap?.close();
    Object.assign(state, { bitmap, bitmapOf: entry });
  }
  showMessage(entry.title + (entry.maps.reduced ? `: the model saw it reduced to ${entry.maps.reduced}` : ""));
  byId("view").className = "ready";
  showClasses(entry.maps, state.model);
  update();
}

// The decision and everything that follows from it.
function update() {
  const entry = shown();
  if (!entry?.maps || state.bitmapOf !== entry) return;
  state.decision = decide(entry.maps, state);
  showThreshold(state);
  showObjects(state.decision, state.bitmap, state, select);
  draw();
}

function draw() {
  const entry = shown();
  if (!entry?.maps || state.bitmapOf !== entry) return;
  const canvas = byId("canvas"), { width, height } = entry.maps;
  byId("viewer").classList.toggle("wide", width < canvas.parentElement.clientWidth);
  Object.assign(canvas, { width, height });
  const scale = width / (canvas.clientWidth || width);
  drawEntry(canvas, { bitmap: state.bitmap, maps: entry.maps }, state.decision, state, scale);
  for (const button of document.querySelectorAll("[data-layer]"))
    button.setAttribute("aria-pressed", button.dataset.layer === state.layer);
  byId("opacity").value = state.opacity;
  byId("boxes").checked = state.boxes;
  byId("contours").checked = state.contours;
}

// Once before the next frame of the screen, however often the slider moves.
function updateSoon() {
  if (state.pending) return;
  state.pending = true;
  requestAnimationFrame(() => { state.pending = false; update(); });
}

function show(index) {
  if (!queue.entries.length) return display();
  queue.current = Math.min(Math.max(index, 0), queue.entries.length - 1);
  state.selected = null;
  queue.run();
  return display();
}

function completed(entry) {
  if (!queue.entries.includes(entry)) return;  // cleared meanwhile
  if (entry.maps) entry.range = entry.maps.range;
  if (entry.maps && state.threshold === null) setThreshold(entry.range.high);
  const changed = setRange();
  if (entry === shown()) display();
  else {
    showStrip(queue.entries, queue.current, show);
    if (changed) updateSoon();
  }
}

// --- threshold and range ---

function setThreshold(value, point = "") {
  if (Number.isFinite(value)) Object.assign(state, { threshold: value, point });
  updateSoon();
}

// The colours reach over all images, so that one colour is one score in each of them.
function setRange() {
  const ranges = queue.entries.map((entry) => entry.range).filter(Boolean);
  if (!state.auto || !ranges.length) return false;
  let low = Math.min(...ranges.map((range) => range.low)), high = Math.max(...ranges.map((range) => range.highest));
  if (!(high > low)) { low -= 0.5; high += 0.5; }
  const changed = low !== state.low || high !== state.high;
  Object.assign(state, { low, high });
  return changed;
}

function setEnds() {
  const [low, high] = [+byId("low").value, +byId("high").value];
  if (byId("low").value.trim() && byId("high").value.trim() && low < high) Object.assign(state, { low, high, auto: false });
  updateSoon();
}

function setExact() {
  const value = parseFloat(byId("exact").value.replace(",", "."));
  setThreshold(state.unit === "score" ? value : scoreOf(value / 100, state.model.calibration));
}

function nextPoint() {
  const names = Object.keys(state.model.thresholds);
  const name = names[(names.indexOf(state.point) + 1) % names.length];
  if (name !== undefined) setThreshold(state.model.thresholds[name], name);
}

function set(name, value) {
  state[name] = value;
  updateSoon();
}

function select(index) {
  const count = state.decision?.objects.length ?? 0;
  state.selected = index === state.selected || !count ? null : (index + count) % count;
  markObject(state.selected);
  draw();
}

// --- files ---

const isClip = (file) => file.type.startsWith("video/") || /\.(mp4|webm|mov|mkv|avi|m4v|ogv)$/i.test(file.name);

async function addFiles(files) {
  try {
    if (!state.model) await start();
  } catch (error) {
    return showMessage(`the service does not respond: ${error.message}`, true);
  }
  const first = queue.entries.length, found = [];
  for (const file of [...files].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }))) {
    if (!isClip(file)) { found.push(imageEntry(file)); continue; }
    showMessage(`${file.name}: reading the clip ...`);
    const entries = await clipEntries(file, +byId("rate").value).catch((error) =>
      [{ name: file.name, title: file.name, error: error.message }]);
    found.push(...entries);
  }
  if (!found.length) return;
  queue.add(found);
  await show(first);
}

async function play() {
  state.playing = !state.playing && queue.entries.length > 1;
  byId("play").textContent = state.playing ? "Stop" : "Play";
  while (state.playing) {
    const start = performance.now(), { clip, maps, error } = shown();
    const own = queue.entries.flatMap((entry, index) => (entry.clip === clip ? [index] : []));
    const next = own[(own.indexOf(queue.current) + 1) % own.length], entry = queue.entries[next];
    if ((maps || error) && (entry.maps || entry.error || entry.released)) await show(next);
    await pause(Math.max(10, 1000 / (clip?.rate ?? 2) - (performance.now() - start)));
  }
}

function stop() {
  if (state.playing) play();
}

async function save(kind) {
  const entry = shown();
  if (!entry?.maps) return;
  try {
    if (kind === "all") await saveAll(queue.entries, state, showMessage);
    else await saveOne(kind, entry, state.decision, state);
    showMessage(entry.title);
  } catch (error) {
    showMessage(`${entry.title}: ${error.message}`, true);
  }
}

function clearAll() {
  stop();
  queue.clear();
  display();
}

// --- events ---

const KEYS = {
  1: () => set("layer", "decision"), 2: () => set("layer", "heat"), 3: () => set("layer", "classes"), 4: () => set("layer", "image"),
  ArrowLeft: () => { stop(); show(queue.current - 1); }, ArrowRight: () => { stop(); show(queue.current + 1); },
  ArrowUp: () => select((state.selected ?? 0) - 1), ArrowDown: () => select((state.selected ?? -1) + 1),
  " ": play, o: nextPoint, b: () => set("boxes", !state.boxes), c: () => set("contours", !state.contours),
  m: () => save("mask"), s: () => save("scores"), j: () => save("json"), v: () => save("view"),
  "?": () => byId("help").showModal(),
};
for (const [keys, sign] of [["+=*", 1], ["-_", -1]])
  for (const key of keys)
    KEYS[key] = (shift) => setThreshold(state.threshold + sign * (shift ? 10 : 1) * (state.high - state.low) / 200);

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("select, input:not([type=checkbox], [type=range], [type=file]), dialog");
  const owned = event.target.matches("input[type=range]") ? event.key.startsWith("Arrow")
    : event.target.matches("button, input") && event.key === " ";
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || typing || owned || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key !== "?" && !queue.entries.length) return;
  event.preventDefault();
  action(event.shiftKey);
});

for (const kind of ["dragenter", "dragover"])
  document.addEventListener(kind, (event) => { event.preventDefault(); document.body.classList.add("over"); });
for (const kind of ["dragleave", "drop"])
  document.addEventListener(kind, (event) => { event.preventDefault(); document.body.classList.remove("over"); });
document.addEventListener("drop", (event) => addFiles(event.dataTransfer.files));
document.addEventListener("paste", (event) => addFiles(event.clipboardData.files));

const on = (id, kind, action) => byId(id).addEventListener(kind, action);
on("file", "change", (event) => { const files = [...event.target.files]; event.target.value = ""; addFiles(files); });
on("clear", "click", clearAll);
on("help-button", "click", KEYS["?"]);
on("previous", "click", () => KEYS.ArrowLeft());
on("next", "click", () => KEYS.ArrowRight());
on("play", "click", play);
on("threshold", "input", (event) => setThreshold(state.low + (state.high - state.low) * event.target.value / 1000));
on("exact", "change", setExact);
on("unit", "change", (event) => set("unit", event.target.value));
on("point", "change", (event) => {
  if (event.target.value) setThreshold(state.model.thresholds[event.target.value], event.target.value);
});
on("area", "input", (event) => set("minArea", Math.max(1, Math.round(+event.target.value) || 1)));
on("low", "change", setEnds);
on("high", "change", setEnds);
on("auto", "click", () => { state.auto = true; setRange(); updateSoon(); });
on("opacity", "input", (event) => set("opacity", +event.target.value));
for (const id of ["boxes", "contours"]) on(id, "change", (event) => set(id, event.target.checked));
for (const button of document.querySelectorAll("[data-layer]"))
  button.addEventListener("click", () => set("layer", button.dataset.layer));
for (const button of document.querySelectorAll("[data-save]"))
  button.addEventListener("click", () => save(button.dataset.save));
on("canvas", "pointermove", (event) => {
  const entry = shown(), canvas = event.target;
  if (!entry?.maps) return;
  const { width, height } = entry.maps;
  const x = Math.min(Math.floor(event.offsetX / canvas.clientWidth * width), width - 1);
  const y = Math.min(Math.floor(event.offsetY / canvas.clientHeight * height), height - 1);
  if (x >= 0 && y >= 0) byId("pixel").textContent = pixelText({ maps: entry.maps, at: y * width + x }, state);
});
on("canvas", "pointerleave", () => { byId("pixel").textContent = "\u00a0"; });
window.addEventListener("resize", updateSoon);

async function start() {
  const model = state.model = await (await ask("model")).json();
  Object.assign(state, { threshold: model.threshold, point: model.operating_point ?? "", minArea: model.min_area });
  limits.bytes = model.max_bytes;
  if (model.calibration) state.unit = "probability";
  byId("area").value = model.min_area;
  showModel(model);
}

start().catch((error) => showMessage(`the service does not respond: ${error.message}`, true));
