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

draw();
addEventListener("theme", draw);
