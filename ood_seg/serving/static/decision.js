"use strict";
// From scores to a decision, as the service decides: probabilities, flagged pixels, objects.

// The calibrated probability of a score; null without a calibration.
function probabilityOf(score, calibration) {
  if (!calibration) return null;
  const { slope, offset, scores, probabilities } = calibration.parameters;
  if (!scores) return 1 / (1 + Math.exp(-(slope * score + offset)));
  const last = scores.length - 1;
  if (score <= scores[0]) return probabilities[0];
  if (score >= scores[last]) return probabilities[last];
  let low = 0, high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (scores[middle] <= score) low = middle; else high = middle;
  }
  const share = (score - scores[low]) / (scores[high] - scores[low]);
  return probabilities[low] + share * (probabilities[high] - probabilities[low]);
}

// The lowest score with at least this probability, within the range of an isotonic curve.
function scoreOf(probability, calibration) {
  const { slope, offset, scores, probabilities } = calibration.parameters;
  if (!scores) {
    const p = Math.min(Math.max(probability, 1e-9), 1 - 1e-9);
    return (Math.log(p / (1 - p)) - offset) / slope;
  }
  const at = probabilities.findIndex((value) => value >= probability);
  if (at <= 0) return scores[at < 0 ? scores.length - 1 : 0];
  const rise = probabilities[at] - probabilities[at - 1];
  const share = (probability - probabilities[at - 1]) / rise;
  return scores[at - 1] + share * (scores[at] - scores[at - 1]);
}

// Lowest score, highest score, and those below which 1 % and 99 % of (about 100,000) pixels lie.
function scoreRange(scores) {
  let lowest = Infinity, highest = -Infinity;
  for (let i = 0; i < scores.length; i++) {
    if (scores[i] < lowest) lowest = scores[i];
    if (scores[i] > highest) highest = scores[i];
  }
  const step = Math.max(1, Math.floor(scores.length / 100000));
  const some = Float32Array.from({ length: Math.ceil(scores.length / step) }, (_, i) => scores[i * step]);
  some.sort();
  const at = (share) => some[Math.round(share * (some.length - 1))];
  return { lowest, highest, low: at(0.01), high: at(0.99) };
}

// 1 where a pixel reaches the threshold inside the region; compared as float32, as on the server.
function flaggedPixels({ scores, region }, threshold) {
  const limit = Math.fround(threshold), flagged = new Uint8Array(scores.length);
  for (let i = 0; i < scores.length; i++)
    flagged[i] = scores[i] >= limit && (!region || region[i] !== 0) ? 1 : 0;
  return flagged;
}

// Connected groups of flagged pixels, corners included, highest mean score first. With a stack, as
// recursion would be too deep.
function findObjects(flagged, { scores, width, height }, calibration, minArea) {
  const seen = new Uint8Array(flagged.length), stack = [], objects = [];
  for (let start = 0; start < flagged.length; start++) {
    if (seen[start] || !flagged[start]) continue;
    const one = { left: width, top: height, right: 0, bottom: 0, area: 0, sum: 0, highest: -Infinity, odds: 0 };
    seen[start] = 1;
    stack.push(start);
    while (stack.length) {
      const at = stack.pop(), x = at % width, y = (at - x) / width;
      one.left = Math.min(one.left, x); one.right = Math.max(one.right, x);
      one.top = Math.min(one.top, y); one.bottom = Math.max(one.bottom, y);
      one.area++; one.sum += scores[at]; one.highest = Math.max(one.highest, scores[at]);
      if (calibration) one.odds += probabilityOf(scores[at], calibration);
      for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, height - 1); v++)
        for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, width - 1); u++) {
          const next = v * width + u;
          if (!seen[next] && flagged[next]) { seen[next] = 1; stack.push(next); }
        }
    }
    if (one.area >= minArea) objects.push(one);
  }
  return objects
    .map((one) => ({
      box: [one.left, one.top, one.right - one.left + 1, one.bottom - one.top + 1],
      area: one.area,
      mean_score: one.sum / one.area,
      max_score: one.highest,
      probability: calibration ? one.odds / one.area : null,
    }))
    .sort((a, b) => b.mean_score - a.mean_score);
}

// Flagged pixels, objects and flagged share of an image at the threshold of the page. At the
// service's own settings they are those of the service, however it forms them.
function decide(maps, { threshold, minArea, model }) {
  const asServed = threshold === model.threshold;
  const flagged = asServed && maps.mask ? maps.mask : flaggedPixels(maps, threshold);
  const objects = asServed && minArea === model.min_area
    ? maps.result.instances : findObjects(flagged, maps, model.calibration, minArea);
  let count = 0, inside = maps.region ? 0 : flagged.length;
  for (let i = 0; i < flagged.length; i++) count += flagged[i];
  if (maps.region) for (const value of maps.region) inside += value;
  return { flagged, objects, share: inside ? count / inside : 0 };
}
