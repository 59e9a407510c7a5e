// Objects, strings, maps and typed arrays, as a service in JavaScript has them; prints sums that depend on all of it.
"use strict";

let seed = 12345;
function random(n) {
	seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
	return (seed >>> 8) % n;
}

const ITEMS = 220000;
const byName = new Map();
const items = [];
for (let i = 0; i < ITEMS; i++) {
	const item = { id: i, name: "item-" + random(1e9).toString(36) + "-" + i, owner: random(5000), tags: [], next: null };
	for (let k = random(4); k >= 0; k--)
		item.tags.push("tag" + random(300));
	items.push(item);
	byName.set(item.name, item);
}

// A list in random order through all of them.
const order = new Uint32Array(ITEMS).map((_, i) => i);
for (let i = ITEMS - 1; i > 0; i--) {
	const j = random(i + 1);
	[order[i], order[j]] = [order[j], order[i]];
}
for (let i = 0; i + 1 < ITEMS; i++)
	items[order[i]].next = items[order[i + 1]];

let sum = 0;
for (let pass = 0; pass < 3; pass++)
	for (let item = items[order[0]]; item !== null; item = item.next)
		sum = (Math.imul(sum, 31) + item.id + item.owner + item.tags.length) >>> 0;
console.log("list", sum);

const perTag = {};
for (const item of items)
	for (const tag of item.tags)
		(perTag[tag] ??= []).push(item.id);
console.log("tags", Object.keys(perTag).length, Object.values(perTag).reduce((n, ids) => (Math.imul(n, 17) + ids.length + ids[ids.length >> 1]) >>> 0, 0));

items.sort((a, b) => a.owner - b.owner || (a.name < b.name ? -1 : 1));
console.log("sorted", items[0].name, items[ITEMS >> 1].name, items[ITEMS - 1].name);

let found = 0;
for (let i = 0; i < ITEMS; i++)
	found += byName.get(items[random(ITEMS)].name).owner;
console.log("found", found);

const text = JSON.stringify(items.slice(0, 60000).map(({ id, name, tags }) => ({ id, name, tags })));
const again = JSON.parse(text);
console.log("json", text.length, again.length, again[59999].name);
