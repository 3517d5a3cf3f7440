// SPDX-License-Identifier: Apache-2.0
"use strict";
// While the run lives: load the page again, only if it is visible, and keep what the reader sees.
(() => {
  const { written } = JSON.parse(document.getElementById("data").textContent);
  if (!written) return;
  const EVERY = 20; // seconds; later if the report is old, as after a kill
  const STOPPED = 900; // seconds after which the run has probably ended without a word
  const age = document.getElementById("age");
  const now = () => Date.now() / 1000;
  const loaded = now();
  let pressed = false;

  function ago(seconds) {
    const [count, unit] = seconds < 60 ? [seconds, "s"]
      : seconds < 5400 ? [seconds / 60, "minute"]
        : seconds < 172800 ? [seconds / 3600, "hour"] : [seconds / 86400, "day"];
    const n = Math.round(count);
    const text = `${n} ${unit}${unit === "s" || n === 1 ? "" : "s"} ago`;
    return seconds < STOPPED ? text : `${text}; it may have stopped`;
  }

  function tick() {
    const old = Math.max(now() - written, 0);
    age.textContent = ago(old);
    const due = now() - loaded >= Math.max(EVERY, old / 10);
    const free = !pressed && !window.report.busy() && getSelection().isCollapsed;
    if (due && free && document.visibilityState === "visible") {
      history.replaceState({ report: window.report.view(), top: scrollY, at: now() }, "");
      location.reload();
    }
  }

  addEventListener("pointerdown", () => { pressed = true; });
  for (const name of ["pointerup", "pointercancel"]) {
    addEventListener(name, () => { pressed = false; });
  }
  const kept = history.state;
  if (kept && kept.report && now() - kept.at < 60) {
    window.report.restore(kept.report);
    scrollTo(0, kept.top);
  }
  tick();
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);
})();
