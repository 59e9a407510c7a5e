// What node takes from malloc: buffers of its own and zlib's; V8's heap is not malloc's.
"use strict";
const zlib = require("zlib");
let state = 1;

function random(n) {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return (state >>> 16) % n;
}

const kept = [];
let bytes = 0;
for (let i = 0; i < 150000; i++) {
  const buffer = Buffer.allocUnsafeSlow(64 + random(8000));
  buffer[0] = i & 255;
  kept[random(2000)] = buffer;
  bytes += buffer.length;
}
const text = Buffer.from("steward ".repeat(20000));
let back = 0;
for (let i = 0; i < 100; i++) back += zlib.inflateSync(zlib.deflateSync(text)).length;
const table = {};
for (let i = 0; i < 100000; i++) table["k" + random(60000)] = [i, "v".repeat(random(30))];
console.log(bytes, back, kept.length, JSON.stringify(JSON.parse(JSON.stringify(table))).length);
