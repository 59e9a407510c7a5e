// One chart: lines that differ by dashes as well as by colour, a legend with the values at the moment that the slider is at.
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [12, 4], [], [4, 2, 1, 2, 1, 2], [1, 4]];
const WIDTHS = [2, 2, 2, 2, 2, 3.5, 2, 2];
const HEIGHT = 230;

function colour(name) {
	return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// The lines may have different x: a line that has no value somewhere is drawn over it.
function aligned(chart) {
	if (chart.x)
		return [chart.x, ...chart.series.map(s => s.y)];
	return uPlot.join(chart.series.map(s => [s.x, s.y]));
}

// The index of the last x that is not behind t; -1: all are.
function at(x, t) {
	let low = 0, high = x.length;

	while (low < high) {
		const middle = (low + high) >> 1;

		if (x[middle] <= t)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

function legendSample(i) {
	const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
	const path = document.createElementNS("http://www.w3.org/2000/svg", "path");

	svg.setAttribute("viewBox", "0 0 34 10");
	svg.setAttribute("aria-hidden", "true");
	path.setAttribute("d", "M0 5H34");
	path.setAttribute("stroke", `var(--c${i})`);
	path.setAttribute("stroke-width", WIDTHS[i]);
	path.setAttribute("stroke-dasharray", DASHES[i].join(" "));
	svg.append(path);
	return svg;
}

function seriesOptions(chart, s, i) {
	const options = { label: s.name, stroke: () => colour(`--c${i}`), width: WIDTHS[i], dash: DASHES[i], spanGaps: !chart.x,
			  points: { show: chart.series.length === 1 && s.y.length < 3 } };

	if (chart.bars)
		Object.assign(options, { fill: () => colour(`--c${i}`), width: 0, paths: uPlot.paths.bars({ size: [0.9, 40] }) });
	return options;
}

function axis(unit, more) {
	return { stroke: () => colour("--soft"), grid: { stroke: () => colour("--line"), width: 1 },
		 ticks: { stroke: () => colour("--line"), width: 1 }, font: "12px system-ui, sans-serif", incrs: steps(unit),
		 values: (u, all) => all.map(v => v === null ? "" : format(unit, v)), ...more };
}

function range(chart) {
	if (chart.log_y)
		return undefined;
	return (u, low, high) => {
		const all = Math.max(high === null ? 0 : high * 1.05, chart.y_unit === "percent" ? 100 : 0) || 1;

		return [0, chart.y_most > 0 ? Math.min(all, chart.y_most) : all];
	};
}

function plotOptions(chart, width) {
	return {
		width, height: HEIGHT,
		legend: { show: false },
		cursor: { y: false, points: { show: !chart.bars }, ...(chart.x_unit === "time" && !chart.log_x ?
			  { sync: { key: "time", scales: ["x", null] } } : {}) },
		scales: { x: { time: false, ...(chart.log_x ? { distr: 3, log: 2 } : {}) },
			  y: chart.log_y ? { distr: 3, log: 2 } : { range: range(chart) } },
		axes: [axis(chart.x_unit, chart.log_x ? { incrs: undefined, space: 60, size: 34 } : { space: 80, size: 34 }),
		       axis(chart.y_unit, { size: 76, ...(chart.log_y ? { incrs: undefined } : {}) })],
		series: [{}, ...chart.series.map((s, i) => seriesOptions(chart, s, i))],
	};
}

// Lines across a chart: marks with their text, and where the slider is.
class Lines {
	constructor(plot, marks) {
		this.plot = plot;
		this.items = (marks || []).map(m => this.add(m.x, "markline", m.text));
		this.now = this.add(null, "nowline", "");
	}

	add(x, kind, text) {
		const element = make("div", { class: kind, title: text, hidden: true }, make("span", { text }));

		this.plot.over.append(element);
		return { x, element };
	}

	place() {
		for (const { x, element } of [...this.items, this.now]) {
			const left = x === null ? -1 : this.plot.valToPos(x, "x"), width = this.plot.over.clientWidth;

			element.hidden = !(left >= 0 && left <= width);
			element.style.left = `${left}px`;
			element.classList.toggle("left", left > width / 2);
		}
	}
}

class Chart {
	// moved(t): somebody clicked at that moment.
	constructor(chart, moved) {
		this.chart = chart;
		this.timed = chart.x_unit === "time" && !chart.log_x;
		this.data = aligned(chart);
		this.values = chart.series.map(() => make("output", {}));
		this.area = make("div", { class: "plot", role: "img", "aria-label": chart.title });
		this.element = make("figure", {}, make("figcaption", {}, chart.title, ...this.beyond()), this.legend(), this.area);
		this.moved = moved;
	}

	// Said where the axis ends before the values do.
	beyond() {
		const most = this.chart.y_most;

		return most > 0 && this.chart.series.some(s => s.y.some(v => v > most)) ?
			[make("span", { class: "beyond", text: `: up to ${format(this.chart.y_unit, most)}, what is above is not drawn` })] : [];
	}

	legend() {
		const entries = this.chart.series.map((s, i) =>
			make("span", { class: "entry" }, ...(this.chart.bars ? [] : [legendSample(i)]), s.name, " ", this.values[i]));

		return make("div", { class: "legend" }, ...(this.chart.series.length > 1 || this.timed ? entries : []));
	}

	// In the document, so that there is a width.
	draw() {
		this.plot = new uPlot(plotOptions(this.chart, this.width()), this.data, this.area);
		this.lines = new Lines(this.plot, this.chart.marks);
		this.plot.hooks.setScale = [() => this.lines.place()];
		this.plot.hooks.setSize = [() => this.lines.place()];
		this.lines.place();
		if (this.timed)
			this.plot.over.addEventListener("click", e => this.moved(this.plot.posToVal(e.offsetX, "x")));
		new ResizeObserver(() => this.plot.setSize({ width: this.width(), height: HEIGHT })).observe(this.area);
	}

	width() {
		return Math.max(this.area.clientWidth, 200);
	}

	end() {
		const x = this.data[0];

		return this.timed && x.length > 0 ? x[x.length - 1] : 0;
	}

	// What each line has at t, in its unit.
	figures(t) {
		return this.data.slice(1).map(y => {
			for (let i = at(this.data[0], t); i >= 0; i--)
				if (y[i] !== null && y[i] !== undefined)
					return y[i];
			return null;
		});
	}

	show(t) {
		if (!this.timed)
			return;
		this.figures(t).forEach((v, i) => this.values[i].textContent = format(this.chart.y_unit, v));
		this.lines.now.x = t;
		this.lines.place();
	}

	redraw() {
		this.plot.redraw();
	}
}
