"use strict";
// The images of the page, frames of clips among them, and the queue in which the service sees them.

const MOST_FRAMES = 300;
// Bytes of maps that are kept; beyond it, those farthest from the shown image are requested again.
const MEMORY = (navigator.deviceMemory || 4) * 2 ** 27;

function imageEntry(file) {
  return { name: file.name.replace(/\.[^.]+$/, ""), title: file.name, load: async () => file };
}

function event(target, name) {
  return new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true });
    target.addEventListener("error", () => reject(new Error("this browser cannot play it")), { once: true });
  });
}

// Entries of the frames of a clip, `rate` in each second; each is decoded when its turn comes.
async function clipEntries(file, rate) {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, preload: "auto", src: URL.createObjectURL(file) });
  await event(video, "loadeddata");
  if (!Number.isFinite(video.duration)) throw new Error("the clip does not state its length");
  const count = Math.max(1, Math.ceil(video.duration * rate - 1e-6));
  const kept = Math.min(count, MOST_FRAMES), step = count / kept / rate;
  const canvas = document.createElement("canvas"), stem = file.name.replace(/\.[^.]+$/, "");
  let turn = Promise.resolve();  // one place in a clip at a time
  const frameAt = async (time) => {
    const sought = event(video, "seeked");
    video.currentTime = time;
    await sought;
    Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  };
  const clip = { title: file.name, rate: 1 / step, thinned: kept < count };
  return Array.from({ length: kept }, (_, i) => {
    const time = Math.min(i * step + 1e-3, video.duration);
    const load = () => (turn = turn.then(() => frameAt(time), () => frameAt(time)));
    return { name: `${stem}_${String(i).padStart(4, "0")}`, title: `${file.name}, ${time.toFixed(2)} s`, clip, time, load };
  });
}

// Fill in what an entry lacks: its file, its maps, its thumbnail. Errors stay with it.
async function complete(entry) {
  try {
    entry.blob ??= await entry.load();
    const bitmap = await createImageBitmap(entry.blob).catch(() => {
      throw new Error("this browser cannot show it as an image");
    });
    entry.thumbnail ??= cropCanvas(bitmap, [0, 0, bitmap.width / 1.4, bitmap.height / 1.4], 96, 54);
    entry.maps = await requestMaps(entry.blob);
    bitmap.close();
  } catch (error) {
    entry.error = error.message;
  }
}

class EntryQueue {
  // `changed` is called with each entry that has been completed.
  constructor(changed) {
    Object.assign(this, { entries: [], current: 0, changed, running: false });
  }

  add(entries) {
    this.entries.push(...entries);
    this.run();
  }

  clear() {
    this.entries = [];
    this.current = 0;
  }

  // The shown entry first, then those after it, then those before it.
  next() {
    const wanted = (entry) => !entry.maps && !entry.error;
    const shown = this.entries[this.current];
    if (shown && wanted(shown)) return shown;
    const order = [...this.entries.slice(this.current), ...this.entries.slice(0, this.current)];
    return order.find((entry) => wanted(entry) && !entry.released);
  }

  async run() {
    if (this.running) return;
    this.running = true;
    for (let entry = this.next(); entry; entry = this.next()) {
      await complete(entry);
      this.release();
      this.changed(entry);
    }
    this.running = false;
  }

  release() {
    const kept = this.entries.map((entry, index) => [entry, Math.abs(index - this.current)])
      .filter(([entry]) => entry.maps).sort((a, b) => b[1] - a[1]);
    let bytes = kept.reduce((sum, [entry]) => sum + bytesOf(entry.maps), 0);
    for (const [entry, distance] of kept) {
      if (bytes <= MEMORY || distance === 0) break;
      bytes -= bytesOf(entry.maps);
      Object.assign(entry, { maps: null, released: true });
    }
  }
}
