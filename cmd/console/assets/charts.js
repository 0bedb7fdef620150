"use strict";
// Draws the last day from what data-from gives, with uPlot, and again each minute.
(() => {
  const place = document.getElementById("charts");
  if (!place || !window.uPlot) return;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // No line is told from another by its colour alone.
  const looks = {
    accepted: { label: "accepted", stroke: "--link" },
    delivered: { label: "delivered", stroke: "--good", dash: [8, 3] },
    deferred: { label: "deferred", stroke: "--bad", dash: [2, 3] },
    queue: { label: "in the queue", stroke: "--warn" },
  };
  let data = null, charts = [];

  const draw = () => {
    charts.forEach((c) => c.destroy());
    place.hidden = false;
    charts = [...place.querySelectorAll(".chart")].map((at) => {
      const names = at.dataset.lines.split(" ");
      const axis = { stroke: color("--dim"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 } };
      return new uPlot({
        width: Math.max(at.clientWidth, 200), height: 200,
        cursor: { drag: { x: false, y: false } },
        scales: { y: { range: (u, min, max) => [0, Math.max(max, 1)] } },
        axes: [{ ...axis }, { ...axis, size: 60, incrs: [1, 2, 5].flatMap((n) => [...Array(10).keys()].map((e) => n * 10 ** e)).sort((a, b) => a - b) }],
        series: [{ value: (u, v) => v == null ? "–" : new Date(v * 1000).toLocaleTimeString() },
          ...names.map((n) => ({ ...looks[n], stroke: color(looks[n].stroke), width: 2, points: { show: data.at.length < 3 } }))],
      }, [data.at, ...names.map((n) => data[n])], at);
    });
  };

  const load = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(place.dataset.from, { headers: { "X-Live": "1" } });
      if (!answer.ok || answer.redirected) return;
      data = await answer.json();
    } catch { return; } // the next minute is another one
    if (data.at.length) draw();
  };

  new ResizeObserver(() => {
    charts.forEach((c) => {
      const width = Math.max(c.root.parentElement.clientWidth, 200);
      if (width !== c.width) c.setSize({ width, height: 200 });
    });
  }).observe(place);
  dark.addEventListener("change", () => { if (data) draw(); });
  document.addEventListener("visibilitychange", load);
  setInterval(load, 60000);
  load();
})();
