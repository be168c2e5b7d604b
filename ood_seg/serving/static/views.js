"use strict";
// Lists and texts of the page; nothing here changes its state.

const byId = (id) => document.getElementById(id);

function element(tag, { text, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

function showMessage(text, isError = false) {
  byId("message").textContent = text;
  byId("message").className = isError ? "error" : "";
}

// A score in the unit of the page.
function inUnit(score, { unit, model }) {
  if (unit === "score") return score.toPrecision(4);
  return `${(100 * probabilityOf(score, model.calibration)).toPrecision(3)} %`;
}

function megapixels(pixels) {
  return `${(pixels / 1e6).toFixed(1)} megapixels`;
}

function showModel(model) {
  const { calibration } = model, points = Object.keys(model.thresholds);
  const facts = {
    name: model.model || "unnamed",
    score: `${model.score}; a higher score is more anomalous`,
    classes: `${model.classes.length} known classes`,
    calibration: calibration
      ? `${calibration.method}, made on ${calibration.data_set || "unnamed images"}; assumes ` +
        `${(100 * calibration.assumed_prior).toPrecision(3)} % anomalous pixels`
      : "none: scores only, no probabilities",
    "operating points": points.join(", ") || "none",
    version: `ood_seg ${model.version}`,
    limits: `${megapixels(model.max_pixels)} and ${(model.max_bytes / 2 ** 20).toFixed(0)} MiB an image; ` +
      `above ${megapixels(model.batch_pixels)} the model sees it reduced`,
  };
  byId("model").replaceChildren(
    ...Object.entries(facts).flatMap(([name, text]) => [element("dt", { text: name }), element("dd", { text })]));
  byId("about").textContent = `${facts.name}: ${facts.classes}, score ${model.score}`;
  byId("point").replaceChildren(...[["custom", ""], ...points.map((name) => [name, name])]
    .map(([text, value]) => new Option(text, value)));
  byId("points").hidden = !points.length;
  byId("unit").hidden = !calibration;
}

// Colour bar, slider, numbers and names of the threshold.
function showThreshold(state) {
  const { low, high, threshold, model, unit } = state;
  const place = (score) => Math.min(Math.max((score - low) / (high - low), 0), 1);
  byId("bar").style.background = `linear-gradient(to right, ${STOPS.map((stop) => `rgb(${stop})`)})`;
  byId("mark").style.left = `${100 * place(threshold)}%`;
  byId("bar").replaceChildren(byId("mark"), ...Object.entries(model.thresholds).map(([name, value]) => {
    const line = element("i", { className: "point", title: name });
    line.style.left = `${100 * place(value)}%`;
    return line;
  }));
  byId("bar").setAttribute("aria-label", `scores from ${low.toPrecision(4)} (dark) to ${high.toPrecision(4)} (bright)`);
  byId("threshold").value = Math.round(1000 * place(threshold));
  byId("threshold").setAttribute("aria-valuetext", inUnit(threshold, state));
  byId("ticks").replaceChildren(...[0, 0.5, 1].map((share) => {
    const tick = element("span", { text: inUnit(low + share * (high - low), state) });
    tick.style.left = `${100 * share}%`;
    return tick;
  }));
  const fields = { low: low.toPrecision(3), high: high.toPrecision(3), unit, point: state.point };
  fields.exact = inUnit(threshold, state).replace(" %", "");
  for (const [id, value] of Object.entries(fields))
    if (byId(id) !== document.activeElement) byId(id).value = value;
  const other = unit === "score" ? "probability" : "score";
  byId("other").textContent = model.calibration
    ? `${other} ${inUnit(threshold, { ...state, unit: other })}` : "";
  byId("auto").disabled = state.auto;
}

function showObjects({ objects, share }, bitmap, { selected }, select) {
  byId("summary").textContent = `${objects.length} unknown object${objects.length === 1 ? "" : "s"}; ` +
    `${(100 * share).toFixed(2)} % of the pixels are flagged`;
  const rows = objects.slice(0, 100).map((one, index) => {
    const [left, top, width, height] = one.box;
    const text = element("span", {}, element("strong", { text: `${index + 1}  ${titleOf(one)}` }),
      element("small", { text: `${width} × ${height} px at ${left}, ${top}; ${one.area} px` }),
      element("small", { text: `score ${one.mean_score.toPrecision(4)}, highest ${one.max_score.toPrecision(4)}` }));
    const button = element("button", { onclick: () => select(index) }, cropCanvas(bitmap, one.box, 144, 108), text);
    button.dataset.box = one.box;
    button.setAttribute("aria-pressed", index === selected);
    return element("li", {}, button);
  });
  if (objects.length > rows.length)
    rows.push(element("li", { text: `and ${objects.length - rows.length} more, in the JSON` }));
  byId("objects").replaceChildren(...rows);
}

// Marks the selected object, and scrolls the list to it.
function markObject(selected) {
  [...byId("objects").querySelectorAll("button")].forEach((button, index) => {
    button.setAttribute("aria-pressed", index === selected);
    if (index === selected) byId("objects").scrollTop = button.offsetTop - byId("objects").offsetTop - 60;
  });
}

// The predicted classes of an image with their shares, the largest first.
function showClasses({ labels }, { classes, colours }) {
  const counts = new Array(classes.length).fill(0);
  for (const label of labels) counts[label]++;
  const present = classes.map((name, i) => [name, colours[i], counts[i] / labels.length])
    .filter(([, , share]) => share > 0).sort((a, b) => b[2] - a[2]);
  byId("classes").replaceChildren(...present.map(([name, colour, share]) => {
    const swatch = element("i");
    swatch.style.background = `rgb(${colour})`;
    return element("li", {}, swatch, element("span", { text: name }),
      element("small", { text: `${(100 * share).toFixed(1)} %` }));
  }));
}

function showStrip(entries, current, show) {
  const strip = byId("strip");
  strip.hidden = byId("playback").hidden = entries.length < 2;
  while (strip.children.length > entries.length) strip.lastChild.remove();
  while (strip.children.length < entries.length) {
    const index = strip.children.length;
    strip.append(element("li", {}, element("button", { onclick: () => show(index) })));
  }
  entries.forEach((entry, index) => {
    const button = strip.children[index].firstChild;
    button.title = entry.error ? `${entry.title}: ${entry.error}` : entry.title;
    button.setAttribute("aria-label", button.title);
    button.className = entry.error ? "failed" : entry.range ? "" : "waiting";
    button.toggleAttribute("aria-current", index === current);
    if (index === current) button.setAttribute("aria-current", "true");
    if (button.firstChild !== (entry.thumbnail ?? null)) button.replaceChildren(...(entry.thumbnail ? [entry.thumbnail] : []));
  });
  const shown = strip.children[current];
  if (shown) strip.scrollLeft = shown.offsetLeft - strip.offsetLeft - (strip.clientWidth - shown.clientWidth) / 2;
  const waiting = entries.filter((entry) => !entry.range && !entry.error).length;
  Object.assign(byId("progress"), { hidden: waiting === 0, max: entries.length, value: entries.length - waiting });
  byId("position").textContent = entries.length ? `${current + 1} of ${entries.length}` +
    (waiting ? `, ${waiting} waiting for the model` : "") : "";
}

// What the pixel under the pointer is.
function pixelText({ maps, at }, state) {
  const { width, scores, labels } = maps, x = at % width, probability = probabilityOf(scores[at], state.model.calibration);
  const parts = [`${x}, ${(at - x) / width}`, state.model.classes[labels[at]], `score ${scores[at].toPrecision(4)}`];
  if (probability !== null) parts.push(`${(100 * probability).toPrecision(3)} %`);
  return parts.join(" · ");
}
