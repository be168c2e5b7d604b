"use strict";
// Files in memory: NumPy arrays, and ZIP archives without compression.

// The array of a .npy file, C order, as { shape, values }.
function parseNpy(buffer) {
  const bytes = new DataView(buffer);
  const wide = bytes.getUint8(6) > 1;
  const length = wide ? bytes.getUint32(8, true) : bytes.getUint16(8, true);
  const start = (wide ? 12 : 10) + length;
  const header = new TextDecoder().decode(buffer.slice(start - length, start));
  const kinds = { "<f4": Float32Array, "|u1": Uint8Array, "<u2": Uint16Array };
  const Kind = kinds[header.match(/'descr':\s*'([^']*)'/)?.[1]];
  const shape = header.match(/'shape':\s*\(([\d,\s]*)\)/)?.[1].match(/\d+/g)?.map(Number);
  if (!Kind || !shape) throw new Error("unexpected array: " + header);
  return { shape, values: new Kind(buffer.slice(start)) };
}

// Content of each file of a ZIP archive that `unzip` needs no library for: name -> ArrayBuffer.
function unzip(buffer) {
  const bytes = new DataView(buffer), files = {};
  let at = buffer.byteLength - 22;
  while (at > 0 && bytes.getUint32(at, true) !== 0x06054b50) at--;
  let left = bytes.getUint16(at + 10, true);
  for (at = bytes.getUint32(at + 16, true); left > 0; left--) {
    const [nameLength, extra, comment] = [28, 30, 32].map((i) => bytes.getUint16(at + i, true));
    const size = bytes.getUint32(at + 24, true), local = bytes.getUint32(at + 42, true);
    const name = new TextDecoder().decode(buffer.slice(at + 46, at + 46 + nameLength));
    const start = local + 30 + bytes.getUint16(local + 26, true) + bytes.getUint16(local + 28, true);
    files[name] = buffer.slice(start, start + size);
    at += 46 + nameLength + extra + comment;
  }
  return files;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(...parts) {
  let crc = 0xffffffff;
  for (const part of parts)
    for (let i = 0; i < part.length; i++) crc = CRC_TABLE[(crc ^ part[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

// A ZIP archive, not compressed, of files [name, Uint8Array].
function zip(files) {
  const local = [], central = [];
  let offset = 0;
  for (const [name, content] of files) {
    const encoded = new TextEncoder().encode(name);
    // Version 2.0, names in UTF-8, stored, 1 January 1980, checksum, sizes, length of the name.
    const common = new DataView(new ArrayBuffer(26));
    [20, 0x0800, 0, 0, 0x21].forEach((value, i) => common.setUint16(2 * i, value, true));
    [crc32(content), content.length, content.length].forEach(
      (value, i) => common.setUint32(10 + 4 * i, value, true));
    common.setUint16(22, encoded.length, true);
    local.push(Uint8Array.of(0x50, 0x4b, 3, 4), common, encoded, content);
    const place = new DataView(new ArrayBuffer(14));  // comment, disk, attributes, offset
    place.setUint32(10, offset, true);
    central.push(Uint8Array.of(0x50, 0x4b, 1, 2, 20, 0), common, place, encoded);
    offset += 30 + encoded.length + content.length;
  }
  const size = central.reduce((sum, part) => sum + part.byteLength, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  [8, 10].forEach((at) => end.setUint16(at, files.length, true));
  end.setUint32(12, size, true);
  end.setUint32(16, offset, true);
  return new Blob([...local, ...central, end], { type: "application/zip" });
}
