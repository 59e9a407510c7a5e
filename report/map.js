// A page map: the address space from top to bottom, time from left to right, what most pages of a place are by colour and pattern.
const STATES = [
	{ name: "in memory", colour: "--c0", pattern: "plain" },
	{ name: "sampled: next to go", colour: "--c5", pattern: "lines" },
	{ name: "in the pool", colour: "--c2", pattern: "rising" },
	{ name: "of one word: no memory", colour: "--c6", pattern: "dots" },
	{ name: "in files", colour: "--c1", pattern: "falling" },
	{ name: "free in the heap", colour: "--c3", pattern: "cross" },
	{ name: "never touched", colour: "--line", pattern: "plain" },
];
const NR = STATES.length - 1, FREE = 5, NEVER = 6, MAP_HEIGHT = 340, AREA_HEIGHT = 5;

// A tile of 6 by 6 pixels: the colour, and marks of the page's ground on it.
function tile({ colour: name, pattern }) {
	const canvas = document.createElement("canvas"), c = canvas.getContext("2d");

	canvas.width = canvas.height = 6;
	c.fillStyle = colour(name);
	c.fillRect(0, 0, 6, 6);
	c.fillStyle = colour("--bg");
	for (let i = 0; i < 6; i++) {
		if (pattern === "lines")
			c.fillRect(i, 3, 1, 1);
		if (pattern === "dots" && i % 3 === 1)
			c.fillRect(i, i, 1, 1);
		if (pattern === "rising" || pattern === "cross")
			c.fillRect(i, 5 - i, 1, 1);
		if (pattern === "falling" || pattern === "cross")
			c.fillRect(i, i, 1, 1);
	}
	return canvas;
}

// What most pages of a cell are.
function dominant(counts, pages) {
	const there = counts.slice(0, FREE), sum = there.reduce((a, b) => a + b, 0);
	const all = [...there, 0, pages - sum];

	if (counts[FREE] * 2 > sum && sum * 2 > pages)
		return FREE;
	return all.indexOf(Math.max(...all));
}

class PageMap {
	constructor(map, moved) {
		this.map = map;
		this.moved = moved;
		this.canvas = make("canvas", { role: "img", "aria-label": `Where the pages of ${map.title} are, over time; the table has the figures` });
		this.now = make("div", { class: "nowline" });
		this.body = make("tbody", {});
		this.element = make("figure", { class: "map" }, make("figcaption", { text: map.title }), this.legend(),
				    make("div", { class: "mapbox" }, this.canvas, this.now), this.table());
		this.canvas.addEventListener("click", e => moved(this.timeAt(e.offsetX / this.canvas.clientWidth)));
	}

	legend() {
		this.samples = STATES.map(() => make("canvas", { class: "swatch", width: 34, height: 12 }));
		return make("div", { class: "legend" }, ...STATES.map((s, i) => make("span", { class: "entry" }, this.samples[i], s.name)));
	}

	table() {
		const heads = ["area", "size", ...STATES.map(s => s.name.split(":")[0])];

		return make("div", { class: "wide", tabindex: 0 },
			    make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((h, i) => make("th", { class: i ? false : "t", text: h })))), this.body));
	}

	timeAt(share) {
		return this.map.ns[0] + share * this.span();
	}

	span() {
		return Math.max(this.map.ns[this.map.ns.length - 1] - this.map.ns[0], 1);
	}

	draw() {
		this.paint();
		new ResizeObserver(() => this.paint()).observe(this.element);
	}

	// Heights of areas by their size, but all can be seen.
	heights() {
		const pages = this.map.areas.map(a => a.pages), all = pages.reduce((a, b) => a + b, 0);

		return pages.map(p => Math.max(AREA_HEIGHT, p / all * MAP_HEIGHT));
	}

	paint() {
		const { map, canvas } = this, heights = this.heights();
		const c = canvas.getContext("2d"), tiles = STATES.map(tile);

		canvas.width = Math.max(this.element.clientWidth, 100);
		canvas.height = Math.ceil(heights.reduce((a, h) => a + h + 1, 0));
		const fills = tiles.map(t => c.createPattern(t, "repeat"));

		this.samples.forEach((s, i) => {
			s.getContext("2d").fillStyle = fills[i];
			s.getContext("2d").fillRect(0, 0, s.width, s.height);
		});
		const left = i => i === 0 ? 0 : Math.round((map.ns[i] - map.ns[0]) / this.span() * canvas.width);

		map.ns.forEach((ns, t) => {
			const x = left(t), width = (t + 1 < map.ns.length ? left(t + 1) : canvas.width) - x;

			this.column(c, fills, t, x, Math.max(width, 1), heights);
		});
		this.place();
	}

	column(c, fills, t, x, width, heights) {
		let top = 0;

		this.map.areas.forEach((area, i) => {
			for (let k = 0; k < area.rows; k++) {
				const from = Math.round(top + heights[i] * k / area.rows), to = Math.round(top + heights[i] * (k + 1) / area.rows);

				c.fillStyle = fills[dominant(this.cell(t, area.row + k), this.map.pages[area.row + k])];
				c.fillRect(x, from, width, to - from);
			}
			top += heights[i] + 1;
		});
	}

	cell(t, row) {
		return this.map.cells[t].slice(row * NR, (row + 1) * NR);
	}

	// Of an area at a moment: pages by state, and those that were never touched.
	figures(t, area) {
		const sums = new Array(NR).fill(0);

		for (let k = 0; k < area.rows; k++)
			this.cell(t, area.row + k).forEach((n, i) => sums[i] += n);
		return [...sums, area.pages - sums.slice(0, FREE).reduce((a, b) => a + b, 0)];
	}

	end() {
		return this.map.ns[this.map.ns.length - 1];
	}

	show(t) {
		this.t = t;
		this.moment = Math.max(at(this.map.ns, t), 0);
		const row = (name, cells) => make("tr", {}, make("td", { class: "t", text: name }), ...cells.map(v => make("td", { text: v === "" ? "" : format("bytes", v * 4096) })));

		this.body.replaceChildren(
			...this.map.areas.map(a => row(`${(a.start * 4096).toString(16)} ${a.name}`, [a.pages, ...this.figures(this.moment, a)])),
			row("code, files, stacks, Steward", ["", this.map.rest[this.moment], ...new Array(NEVER).fill("")]));
		this.place();
	}

	place() {
		const share = (this.t - this.map.ns[0]) / this.span();

		this.now.hidden = !(share >= 0 && share <= 1);
		this.now.style.left = `${share * 100}%`;
	}

	redraw() {
		this.paint();
	}
}
