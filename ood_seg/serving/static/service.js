"use strict";
// Requests to the service.

// The part of the address behind # stays in the browser: `http://HOST:8000/#TOKEN`.
let token = decodeURIComponent(location.hash.slice(1));
const PATIENCE = 20;  // requests of one image that may be answered "busy"

async function ask(path, options = {}) {
  for (let tries = 1; ; tries++) {
    // Headers hold bytes; those of UTF-8.
    const bytes = String.fromCharCode(...new TextEncoder().encode(token));
    const headers = token ? { Authorization: "Bearer " + bytes } : {};
    const answer = await fetch(path, { ...options, headers });
    if (answer.ok) return answer;
    if (answer.status === 401) {
      token = prompt("Token of this service") || "";
      if (token) continue;
    }
    if (answer.status === 429 && tries < PATIENCE) {
      const seconds = +answer.headers.get("Retry-After") || 1;
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
      continue;
    }
    const detail = await answer.json().then((body) => body.detail, () => "");
    throw new Error(typeof detail === "string" && detail ? detail : `${answer.status} ${answer.statusText}`);
  }
}

const limits = { bytes: Infinity };  // of an image; known once the service has stated it

async function askForImage(blob, query) {
  // The service refuses it before it is sent, which browsers report without its reason.
  if (blob.size > limits.bytes)
    throw new Error(`${blob.size} bytes are more than the ${limits.bytes} that the service takes`);
  const body = blob.slice(0, blob.size, "application/octet-stream");  // its content counts
  return ask("predict?" + new URLSearchParams(query), { method: "POST", body });
}

// What the service found in an image: scores, labels, region, mask and the result of its decision.
async function requestMaps(blob) {
  const answer = await askForImage(blob, { format: "maps" });
  const files = unzip(await answer.arrayBuffer());
  const array = (name) => (files[name + ".npy"] ? parseNpy(files[name + ".npy"]) : null);
  const { shape: [height, width], values: scores } = array("scores");
  const maps = {
    width, height, scores,
    labels: array("labels").values,
    region: array("region")?.values ?? null,
    mask: array("mask")?.values ?? null,
    result: JSON.parse(new TextDecoder().decode(files["result.json"])),
    reduced: answer.headers.get("X-Reduced-To"),
  };
  maps.range = scoreRange(scores);
  return maps;
}

function bytesOf(maps) {
  const arrays = [maps.scores, maps.labels, maps.region, maps.mask];
  return arrays.reduce((sum, array) => sum + (array?.byteLength ?? 0), 0);
}
