"use strict";
// Files that the page offers.

function offer(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const maskFile = ({ width, height }, flagged) => greyPng(flagged.map((on) => 255 * on), width, height);

function scoreFile({ scores, width, height }, scale) {
  return greyPng(quantised(scores, scale), width, height, JSON.stringify(scale));
}

// The result of the service at the settings of the page: as it came, or asked for again.
async function resultOf(entry, maps, { threshold, point, minArea, model }) {
  const asServed = threshold === model.threshold && minArea === model.min_area;
  const query = { format: "json", threshold, min_area: minArea };
  const result = asServed ? maps.result : await (await askForImage(entry.blob, query)).json();
  return { ...result, name: entry.name, stamp: entry.time ?? null, operating_point: point || null };
}

function jsonFile(content) {
  return new TextEncoder().encode(JSON.stringify(content, null, 1) + "\n");
}

const SAVES = {
  mask: async ({ maps }, decision) => [await maskFile(maps, decision.flagged), "_mask.png", "image/png"],
  scores: async ({ maps }) =>
    [await scoreFile(maps, scaleOf(maps.range.lowest, maps.range.highest)), "_scores.png", "image/png"],
  json: async (entry, decision, state) => {
    const scale = scaleOf(entry.range.lowest, entry.range.highest);
    const result = await resultOf(entry, entry.maps, state);
    return [jsonFile({ ...result, score_scale: scale }), ".json", "application/json"];
  },
};

async function saveOne(kind, entry, decision, state) {
  if (kind === "view")
    return byId("canvas").toBlob((blob) => offer(blob, `${entry.name}_${state.layer}.png`), "image/png");
  const [content, ending, type] = await SAVES[kind](entry, decision, state);
  return offer(new Blob([content], { type }), entry.name + ending);
}

// Masks, scores with one scale for all, as `ood-seg evaluate` reads them, and results of all images.
async function saveAll(entries, state, report) {
  const done = entries.filter((entry) => entry.range), files = [], used = new Map();
  const ranges = done.map((entry) => entry.range);
  const scale = scaleOf(Math.min(...ranges.map((r) => r.lowest)), Math.max(...ranges.map((r) => r.highest)));
  for (const [index, entry] of done.entries()) {
    report(`${index + 1} of ${done.length}: ${entry.title}`);
    const maps = entry.maps ?? (await requestMaps(entry.blob));
    const count = used.get(entry.name) ?? 0, name = count ? `${entry.name}_${count + 1}` : entry.name;
    used.set(entry.name, count + 1);
    files.push([`masks/${name}.png`, await maskFile(maps, decide(maps, state).flagged)]);
    files.push([`scores/${name}.png`, await scoreFile(maps, scale)]);
    files.push([`results/${name}.json`, jsonFile(await resultOf(entry, maps, state))]);
  }
  files.push(["scores/scale.json", jsonFile(scale)]);
  offer(zip(files), "ood_seg.zip");
}
