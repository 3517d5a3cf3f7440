// SPDX-License-Identifier: Apache-2.0
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const words = (v) => (v == null ? "–" : v === 0 ? "0" : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3
    ? v.toExponential(2) : String(+v.toPrecision(4)));
  const FONT = "12px system-ui, sans-serif";

  // uPlot: null is a gap, undefined is drawn across.
  const values = (list) => list.map((v) => (v === false ? undefined : v));

  function marks(u) {
    const { left, top, width, height } = u.bbox;
    u.ctx.save();
    u.ctx.lineWidth = devicePixelRatio;
    u.ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    u.ctx.globalAlpha = 0.55;
    for (const mark of data.marks) {
      const x = Math.round(u.valToPos(mark.kimg, "x", true));
      if (mark.kimg === null || x < left || x > left + width) continue;
      u.ctx.strokeStyle = color(mark.event === "warning" ? "--warn" : "--quiet");
      u.ctx.beginPath();
      u.ctx.moveTo(x, top);
      u.ctx.lineTo(x, top + height);
      u.ctx.stroke();
    }
    u.ctx.restore();
  }

  function axis(scale, side, stroke) {
    return {
      scale, side, stroke, font: FONT, size: side % 2 ? 50 : 28, gap: 4,
      space: side % 2 ? 34 : 70,
      grid: { show: side !== 1, stroke: () => color("--grid"), width: 1 },
      ticks: { show: false },
      values: side % 2 ? (u, list) => list.map(words) : undefined,
    };
  }

  function chart(about, card) {
    const plot = card.querySelector(".plot");
    const shown = [...card.querySelectorAll(".legend b")];
    const rows = [data.x], series = [{}], bands = [];
    const scales = { x: { time: false } };
    const axes = [axis("x", 2, () => color("--quiet"))];
    about.series.forEach((s, i) => {
      const scale = about.two_axes ? `y${i}` : "y0";
      const stroke = () => color(`--c${i + 1}`);
      rows.push(values(s.y));
      series.push({ scale, stroke, width: 1.5, points: { size: 4 } });
      if (s.low) {
        rows.push(values(s.high), values(s.low));
        series.push({ scale, points: { show: false } }, { scale, points: { show: false } });
        bands.push({ series: [rows.length - 2, rows.length - 1], fill: () => stroke() + "2e" });
      }
      if (!scales[scale]) {
        scales[scale] = {};
        axes.push(axis(scale, i % 2 ? 1 : 3, about.two_axes ? stroke : () => color("--quiet")));
      }
    });
    const step = about.series[0].low ? 3 : 1;
    const u = new uPlot({
      width: Math.max(plot.clientWidth, 100), height: plot.clientHeight, scales, series, axes, bands,
      legend: { show: false },
      padding: [8, about.two_axes ? 0 : 12, 0, 0],
      cursor: { y: false, sync: { key: "run" }, points: { size: 6 }, drag: { x: true, y: false } },
      hooks: {
        draw: [marks],
        setCursor: [(u) => about.series.forEach((s, i) => {
          const v = u.cursor.idx == null ? s.last : rows[1 + i * step][u.cursor.idx];
          shown[i].textContent = words(v);
        })],
      },
    }, rows, plot);
    about.series.forEach((s, i) => { shown[i].textContent = words(s.last); });
    new ResizeObserver(() => {
      u.setSize({ width: Math.max(plot.clientWidth, 100), height: plot.clientHeight });
    }).observe(plot);
    return u;
  }

  const cards = document.querySelectorAll(".card");
  const plots = [...data.charts, ...data.other].map((about, i) => chart(about, cards[i]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    plots.forEach((u) => u.redraw(false, true));
  });

  const sheets = document.querySelectorAll(".sheet");
  const seed = document.getElementById("seed");
  sheets.forEach((sheet, i) => {
    const { columns, rows, classes } = data.sheets[i];
    if (!seed || !columns) return;
    sheet.addEventListener("pointermove", (event) => {
      const box = sheet.getBoundingClientRect();
      const at = (part, count) => Math.min(Math.max(Math.floor(part * count), 0), count - 1);
      const row = at((event.clientY - box.top) / box.height, rows);
      const column = at((event.clientX - box.left) / box.width, columns);
      const label = classes.length ? ` --class "${classes[row]}"` : "";
      seed.textContent = `generate --seeds ${row * columns + column}${label}`;
    });
  });

  const slider = document.getElementById("slider");
  let timer = 0;

  // What a reader has chosen, for live.js: the zoom of the charts, and an earlier sheet.
  window.report = {
    busy: () => timer !== 0,
    view: () => ({
      zooms: plots.map((u) => {
        const { min, max } = u.scales.x;
        return min > data.x[0] || max < data.x[data.x.length - 1] ? { min, max } : null;
      }),
      sheet: slider && slider.value !== slider.max ? data.sheets[slider.value].kimg : null,
    }),
    restore: ({ zooms, sheet }) => {
      plots.forEach((u, i) => { if (zooms[i]) u.setScale("x", zooms[i]); });
      const at = data.sheets.findIndex(({ kimg }) => kimg === sheet);
      if (slider && at >= 0) { slider.value = at; show(); }
    },
  };
  if (!slider) return;
  const caption = document.getElementById("caption");
  const play = document.getElementById("play");

  function show() {
    sheets.forEach((sheet, i) => { sheet.hidden = i !== +slider.value; });
    caption.textContent = data.sheets[slider.value].kimg;
    slider.setAttribute("aria-valuetext", data.sheets[slider.value].kimg + " kimg");
  }
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play");
  }
  function forward() {
    slider.value = +slider.value + 1;
    show();
    if (slider.value === slider.max) stop();
  }
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (slider.value === slider.max) slider.value = 0;
    show();
    timer = setInterval(forward, 600);
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
  });
  slider.addEventListener("input", () => { stop(); show(); });
  slider.value = slider.max; // a reload keeps where it stood
  show();
})();
