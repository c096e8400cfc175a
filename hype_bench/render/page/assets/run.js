// The curves of a run: uPlot, a chart per quantity.
const curve = JSON.parse(document.getElementById("curve").textContent);
const place = document.getElementById("curves");

function draw() {
  place.replaceChildren();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 0.5 }, ticks: { show: false } };
  for (const [name, values] of curve.columns) {
    const there = values.map((value, i) => i).filter((i) => values[i] !== null);
    const data = [there.map((i) => curve.updates[i]), there.map((i) => values[i])];
    const chart = new uPlot({
      title: name, width: Math.min(560, place.clientWidth), height: 220, scales: { x: { time: false } },
      axes: [{ ...axis, label: "update", labelSize: 20 }, { ...axis, size: 70, values: (_, ticks) => ticks.map((tick) => `${+tick.toPrecision(6)}`) }],
      series: [{ label: "update" }, { label: name, stroke: colour("--link"), width: 1.5 }],
    }, data, place);
    chart.root.setAttribute("role", "img");
    chart.root.setAttribute("aria-label", `${name} over the updates; in numbers below`);
  }
}

// The same in numbers, when somebody asks for them.
function table() {
  const drawn = document.createElement("table");
  drawn.className = "plain";
  const cell = (row, tag, text, scope) => {
    const made = row.appendChild(document.createElement(tag));
    made.textContent = text;
    if (scope) made.scope = scope;
  };
  const head = drawn.createTHead().insertRow();
  for (const name of ["update", ...curve.columns.map(([name]) => name)]) cell(head, "th", name, "col");
  const body = drawn.createTBody();
  curve.updates.forEach((update, n) => {
    const row = body.insertRow();
    cell(row, "th", update, "row");
    for (const [, values] of curve.columns) cell(row, "td", values[n] === null ? "" : +values[n].toPrecision(4));
  });
  return drawn;
}

draw();
addEventListener("theme", draw);
const numbers = document.getElementById("numbers");
numbers.addEventListener("toggle", () => numbers.append(table()), { once: true });
