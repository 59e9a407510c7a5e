// The step player: one event of a trace after the other, forward and back, with what it did and how it left the machine.
class Player {
	constructor(data) {
		this.data = data;
		this.at = 0;
		this.sentence = make("p", { class: "sentence", "aria-live": "polite" });
		this.also = make("ol", {});
		this.machine = make("div", { class: "machine" });
		this.slider = make("input", { type: "range", min: 0, max: data.steps.length - 1, value: 0, "aria-label": "Step" });
		this.count = make("output", {});
		this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
		this.element = make("div", { class: "player" },
				    make("div", { class: "controls" }, this.button("◀ back", () => this.show(this.at - 1)),
					 this.button("forward ▶", () => this.show(this.at + 1)), this.play = this.button("play", () => this.toggle()),
					 this.slider, this.count),
				    this.sentence, this.also, this.machine);
		if (data.steps.length > 0)
			this.show(0);
	}

	button(text, action) {
		const b = make("button", { type: "button", text });

		b.addEventListener("click", action);
		return b;
	}

	toggle() {
		if (this.timer) {
			clearInterval(this.timer);
			this.timer = null;
		} else {
			this.timer = setInterval(() => this.at + 1 < this.data.steps.length ? this.show(this.at + 1) : this.toggle(), 800);
		}
		this.play.textContent = this.timer ? "stop" : "play";
	}

	show(at) {
		const steps = this.data.steps;

		this.at = Math.min(Math.max(at, 0), steps.length - 1);
		const now = steps[this.at], before = steps[this.at - 1];

		this.slider.value = this.at;
		this.count.textContent = `${this.at + 1} of ${steps.length}`;
		this.sentence.textContent = now.text;
		this.also.replaceChildren(...now.also.map(text => make("li", { text })));
		this.machine.replaceChildren(...(now.heap ? this.heap(now.heap, before?.heap) : this.memory(now, before)), this.free(now, before), this.sizes(now));
	}

	// What steps of a trace are about.
	memory(now, before) {
		return [this.walk(now), ...this.tlbs(now, before), ...this.lists(now, before)];
	}

	// What steps of an allocator are about. Before the first there is nothing.
	heap(now, before = { chunks: [], bins: [], binmap: [], cache: [] }) {
		const row = bin => make("tr", {}, make("td", { class: "t", text: bin.name }), make("td", { class: "t" },
			this.chips(bin.chunks, before.bins.find(b => b.name === bin.name)?.chunks ?? [])));
		const bins = now.bins.length > 0 ? make("table", {}, make("tbody", {}, ...now.bins.map(row))) : make("p", { text: "all are empty" });
		const binmap = now.binmap.length > 0 ? this.chips(now.binmap.map(String), before.binmap.map(String)) : make("p", { text: "none" });
		const boxes = [this.box("The heap, chunk by chunk", this.chips(now.chunks, before.chunks)), this.box("Bins", bins),
			       this.box("binmap: these bins may have something", binmap)];

		if (now.remainder)
			boxes.push(this.box("Last remainder", this.chips(now.remainder, before.remainder ?? [])));
		if (this.data.steps.some(s => s.heap.cache.length > 0))
			boxes.push(this.box("The thread's cache", this.chips(now.cache, before.cache)));
		return boxes;
	}

	box(title, ...content) {
		return make("section", { class: "box" }, make("h3", { text: title }), ...content);
	}

	// Things in a row; what was not there before is marked.
	chips(now, before) {
		return make("div", { class: "chips" }, ...now.map(text => make("span", { class: before && !before.includes(text) ? "chip new" : "chip", text })));
	}

	walk(now) {
		const rows = now.walk.map(w => make("tr", {}, make("td", { class: "t", text: `level ${w.level}` }), make("td", { text: w.index }),
							make("td", { class: "t", text: w.entry })));

		return this.box("Page tables, from the root", rows.length > 0 ? make("table", {}, make("tbody", {}, ...rows)) : make("p", { text: "not walked" }));
	}

	tlbs(now, before) {
		return this.data.tlbs.map((name, i) => [name, i]).filter(([, i]) => this.data.steps.some(s => s.tlb[i].length > 0))
			.map(([name, i]) => this.box(`TLB ${name}: used last first`, this.chips(now.tlb[i], before?.tlb[i])));
	}

	lists(now, before) {
		return this.data.lists.map((name, i) => [name, i]).filter(([, i]) => this.data.steps.some(s => s.lists[i].pages > 0))
			.map(([name, i]) => this.box(`${name}: ${now.lists[i].pages} pages, youngest first`, this.chips(now.lists[i].youngest, before?.lists[i].youngest)));
	}

	// Blocks of 1, 2, 4 … pages that are free.
	free(now, before) {
		const orders = now.free[0].map((n, o) => make("th", { text: 2 ** o }));
		const row = (z, name) => make("tr", {}, make("td", { class: "t", text: name }), ...now.free[z].map((n, o) =>
			make("td", { class: before && before.free[z][o] !== n ? "changed" : false, text: n })));

		return this.box("Free blocks of so many pages (buddy system)", make("div", { class: "wide", tabindex: 0 },
			make("table", {}, make("thead", {}, make("tr", {}, make("th", { class: "t", text: "zone" }), ...orders)),
			     make("tbody", {}, ...this.data.zones.map((name, z) => row(z, name))))));
	}

	sizes(now) {
		return this.box("Frames", make("p", { text: `${now.charged} with pages, ${now.tables} with page tables; ${format("time", now.ns)} since the beginning` }));
	}
}
