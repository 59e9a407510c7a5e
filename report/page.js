// The page: what the command wrote down (docs of the fields: cli/draw/html.h) as headlines, charts, tables; one slider for all.
class Page {
	constructor(data) {
		this.data = data;
		this.charts = [];
		this.maps = [];
		this.root = document.getElementById("page");
		this.root.classList.toggle("several", data.inputs.length > 1);
	}

	build() {
		this.root.append(...this.data.inputs.map(input => this.input(input)));
		this.figures().forEach(c => c.draw());
		this.end = Math.max(0, ...this.figures().map(c => c.end()));
		if (this.end > 0)
			this.addSlider();
		matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.figures().forEach(c => c.redraw()));
	}

	figures() {
		return [...this.charts, ...this.maps];
	}

	input(input) {
		return make("article", {}, make("h1", { text: input.title, title: input.title }), make("p", { class: "headline", text: input.headline }),
			    ...input.sections.map(s => this.section(s)));
	}

	section(section) {
		return make("section", {}, make("h2", { text: section.title }), ...section.items.map(item => this.item(item)));
	}

	item(item) {
		if (item.chart)
			return this.chart(item.chart);
		if (item.table)
			return table(item.table);
		if (item.map)
			return this.map(item.map);
		if (item.steps)
			return new Player(item.steps).element;
		if (item.events)
			return this.events(item.events);
		return make("p", { text: item.text });
	}

	events(events) {
		const rows = events.map(e => {
			const when = make("button", { type: "button", text: format("time", e.ns) });

			when.addEventListener("click", () => this.move(e.ns));
			return make("li", { class: e.bad ? "bad" : false }, when, make("span", { text: (e.bad ? "! " : "") + e.text }));
		});

		return make("ol", { class: "events", tabindex: 0 }, ...rows);
	}

	chart(chart) {
		const c = new Chart(chart, t => this.move(t));

		this.charts.push(c);
		return c.element;
	}

	map(map) {
		const m = new PageMap(map, t => this.move(t));

		this.maps.push(m);
		return m.element;
	}

	addSlider() {
		this.slider = make("input", { type: "range", min: 0, max: 1000, step: 1, value: 500, id: "slider" });
		this.moment = make("output", { for: "slider", id: "moment" });
		this.slider.addEventListener("input", () => this.show(this.end * this.slider.value / 1000));
		this.root.before(make("nav", {}, make("label", { for: "slider", text: "Time" }), this.slider, this.moment));
		this.move(this.end / 2);
	}

	// To the moment t; the slider as near as its steps allow.
	move(t) {
		const within = Math.min(Math.max(t, 0), this.end);

		this.slider.value = Math.round(within / this.end * 1000);
		this.show(within);
	}

	show(t) {
		this.now = t;
		this.moment.textContent = format("time", t);
		this.slider.setAttribute("aria-valuetext", this.moment.textContent);
		this.figures().forEach(c => c.show(t));
	}
}

function table({ heads, rows }) {
	// A head that begins with "<" is that of texts; the first column is text, too.
	const left = heads.map((h, i) => i === 0 || h.startsWith("<"));
	const cell = (tag, text, i) => make(tag, { class: left[i] ? "t" : false, text });
	const head = make("tr", {}, ...heads.map((h, i) => cell("th", h.replace(/^</, ""), i)));

	return make("div", { class: "wide", tabindex: 0 },
		    make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows.map(r => make("tr", {}, ...r.map((c, i) => cell("td", c, i)))))));
}

const page = new Page(JSON.parse(document.getElementById("data").textContent));

page.build();
window.steward = page;
