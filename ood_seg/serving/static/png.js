"use strict";
// Grey PNG files of 8 and 16 bits, which a canvas cannot write.

async function deflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function pngChunk(kind, content) {
  const name = new TextEncoder().encode(kind), frame = new DataView(new ArrayBuffer(8));
  frame.setUint32(0, content.length);
  frame.setUint32(4, crc32(name, content));
  return [new Uint8Array(frame.buffer, 0, 4), name, content, new Uint8Array(frame.buffer, 4, 4)];
}

// Content of the file, from a Uint8Array or Uint16Array; `text` is stored as its description.
async function greyPng(values, width, height, text = "") {
  const size = values.BYTES_PER_ELEMENT, rows = new Uint8Array(height * (1 + width * size));
  for (let y = 0, at = 0, from = 0; y < height; y++) {
    rows[at++] = 0;  // no filter
    for (let x = 0; x < width; x++, from++) {
      if (size === 2) rows[at++] = values[from] >> 8;
      rows[at++] = values[from] & 255;
    }
  }
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8 * size);
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  const parts = [
    signature,
    ...pngChunk("IHDR", new Uint8Array(header.buffer)),
    ...(text ? pngChunk("tEXt", new TextEncoder().encode("Description\0" + text)) : []),
    ...pngChunk("IDAT", await deflated(rows)),
    ...pngChunk("IEND", new Uint8Array(0)),
  ];
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

// Scale and offset by which 16 bits hold scores from `low` to `high`: score = offset + scale * stored.
function scaleOf(low, high) {
  return { scale: (high - low) / 65535 || 1, offset: low };
}

function quantised(scores, { scale, offset }) {
  const values = new Uint16Array(scores.length);
  for (let i = 0; i < values.length; i++)
    values[i] = Math.min(Math.max(Math.round((scores[i] - offset) / scale), 0), 65535);
  return values;
}
