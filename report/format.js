// How figures look: the units are those of cli/draw/chart.h.
const UNITS = {
	bytes: { base: 1024, names: ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] },
	time: { base: 1000, names: ["ns", "us", "ms", "s"] },
	count: { base: 1000, names: ["", "k", "M", "G", "T"] },
};

// "64 MiB", "1.5 s", "2×", "20 k": three digits are enough, and no zeros behind the point.
function format(unit, v) {
	if (v === null || v === undefined || Number.isNaN(v))
		return "–";
	if (unit === "times")
		return `${Number(v.toPrecision(3))}×`;
	if (unit === "percent")
		return `${Number(v.toPrecision(3))} %`;
	const { base, names } = UNITS[unit];
	let u = 0;

	for (; u + 1 < names.length && Math.abs(v) >= base; u++)
		v /= base;
	const digits = Math.abs(v) < 100 && v !== Math.floor(v) ? String(Number(v.toPrecision(3))) : v.toFixed(0);

	return names[u] === "" ? digits : `${digits} ${names[u]}`;
}

// Steps between ticks: sizes by powers of two.
function steps(unit) {
	const all = [];

	if (unit === "bytes") {
		for (let i = 0; i < 52; i++)
			all.push(2 ** i);
	} else {
		for (let power = unit === "times" || unit === "percent" ? -3 : 0; power < 16; power++)
			for (const n of [1, 2, 5])
				all.push(Number(`${n}e${power}`));
	}
	return all;
}

// An element with attributes ("text": what it says) and children.
function make(tag, attributes, ...children) {
	const e = document.createElement(tag);

	for (const [name, value] of Object.entries(attributes || {})) {
		if (name === "text")
			e.textContent = value;
		else if (value !== false)
			e.setAttribute(name, value === true ? "" : value);
	}
	e.append(...children);
	return e;
}
