// Runs: what is finished, and what is under way.

import * as api from "./api.js";
import { $, duration, element, score, shape } from "./dom.js";

const EVERY_MS = 1000;
const STATES = { finished: "finished", running: "● running", stopped: "stopped", failed: "failed" };

export class Runs {
  constructor() {
    this.timer = null;
    this.chosen = null;
    this.finished = "";
    /** Whether the server did not answer the last time. */
    this.lost = false;
    this.open = false;
    $("run-table").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.choose(button.dataset.experiment, button.dataset.run);
    });
    $("figure-kind").addEventListener("change", () => this.figure());
    $("figure-experiment").addEventListener("change", () => this.figure());
    $("figure").addEventListener("error", () => this.noFigure());
  }

  /** Which figures there are. */
  offer(kinds) {
    for (const kind of kinds) $("figure-kind").append(element("option", { value: kind }, kind));
  }

  start() {
    this.open = true;
    this.tick();
  }

  stop() {
    this.open = false;
    clearTimeout(this.timer);
  }

  async tick() {
    clearTimeout(this.timer);
    // What is shown stays until there is something newer.
    try {
      await this.refresh();
      if (this.lost) $("status").textContent = "";
      this.lost = false;
    } catch (error) {
      $("status").textContent = `${error.message} Trying again…`;
      this.lost = true;
    }
    if (this.open) this.timer = setTimeout(() => this.tick(), EVERY_MS);
  }

  async refresh() {
    const { runs } = await api.runs();
    $("no-runs").hidden = runs.length > 0;
    $("run-table").hidden = runs.length === 0;
    const { chosen } = this;
    if (chosen && !runs.some((run) => run.experiment === chosen.experiment && run.run === chosen.run)) {
      // Its folder is gone.
      this.chosen = null;
      $("run-details").hidden = true;
    }
    // Whoever opens the page wants to see what is going on.
    if (!this.chosen) {
      const first = runs.find((run) => run.state === "running") ?? runs[0];
      if (first) this.chosen = { experiment: first.experiment, run: first.run };
    }
    this.table(runs);
    if (this.chosen) await this.details();
    const finished = runs.filter((run) => run.state === "finished").map((run) => `${run.experiment}/${run.run}`).join();
    if (finished !== this.finished) {
      await this.results();
      this.finished = finished;
    }
  }

  table(runs) {
    const focused = document.activeElement?.dataset?.run;
    const rows = runs.map((run) => {
      const name = `${run.experiment}/${run.run}`;
      const button = element("button", { className: "link", dataset: { experiment: run.experiment, run: run.run } }, name);
      const current = this.chosen?.experiment === run.experiment && this.chosen?.run === run.run;
      if (current) button.setAttribute("aria-current", "true");
      const planned = run.epochs_planned === null || (run.state === "finished" && run.epochs === 0) ? "" : ` of ${run.epochs_planned}`;
      return element("tr", { className: current ? "current" : "" },
        element("th", { scope: "row" }, button),
        element("td", { className: `state ${run.state}` }, STATES[run.state]),
        element("td", {}, run.state === "finished" && run.epochs === 0 ? "not trained" : `${run.epochs}${planned}`),
        element("td", {}, score(run.best_dice)),
        element("td", {}, run.state === "running" ? duration(run.remaining_secs) : ""));
    });
    const body = $("run-table").tBodies[0];
    body.replaceChildren(...rows);
    if (focused) body.querySelector(`button[data-run="${CSS.escape(focused)}"]`)?.focus();
  }

  choose(experiment, run) {
    this.chosen = { experiment, run };
    this.tick();
  }

  async details() {
    const { experiment, run } = this.chosen;
    const details = await api.run(experiment, run);
    $("run-details").hidden = false;
    $("run-name").textContent = `${experiment}/${run}`;
    const planned = details.epochs_planned ?? 0;
    const facts = [STATES[details.state]];
    if (details.epochs > 0 || details.state === "running") facts.push(`epoch ${details.epochs} of ${planned}`);
    if (details.remaining_secs !== null) facts.push(`about ${duration(details.remaining_secs)} left of training`);
    if (details.failure) facts.push(details.failure);
    $("run-facts").textContent = facts.join(" · ");
    $("run-progress").hidden = details.state === "finished" && details.epochs === 0;
    $("run-progress").value = planned ? details.epochs / planned : 0;
    chart($("chart-loss"), details.curve, "loss", planned);
    chart($("chart-dice"), details.curve, "dice", planned);
    $("run-log").textContent = details.log.join("\n") || "no log yet";
  }

  async results() {
    const { rows } = await api.results();
    $("result-table").tBodies[0].replaceChildren(
      ...rows.map((row) =>
        element("tr", {},
          element("th", { scope: "row" }, row.experiment),
          element("td", {}, `${row.method}${row.seed === 1 ? "" : `, seed ${row.seed}`}`),
          element("td", {}, `${row.data} ${row.split}`),
          element("td", {}, row.oracle ? `${row.prompts} (oracle)` : row.prompts),
          element("td", {}, String(row.n)),
          element("td", {}, `${score(row.dice)} [${score(row.dice_low)}, ${score(row.dice_high)}]`),
          element("td", {}, score(row.iou)))));
    $("no-results").hidden = rows.length > 0;
    for (const id of ["result-table", "figure-tools"]) $(id).hidden = rows.length === 0;
    const experiments = [...new Set(rows.map((row) => row.experiment))];
    const choice = $("figure-experiment");
    const former = choice.value;
    choice.replaceChildren(...experiments.map((name) => element("option", { value: name }, name)));
    if (experiments.includes(former)) choice.value = former;
    this.figure();
  }

  figure() {
    const [experiment, kind] = [$("figure-experiment").value, $("figure-kind").value];
    const image = $("figure");
    $("figure-message").textContent = "";
    image.hidden = !experiment;
    if (!experiment) return;
    image.hidden = false;
    image.alt = `${kind} of ${experiment}`;
    image.src = api.figure(experiment, kind, "svg");
    for (const format of ["svg", "png", "pdf"]) {
      const link = $(`figure-${format}`);
      link.href = api.figure(experiment, kind, format);
      link.download = `${experiment}-${kind}.${format}`;
    }
  }

  async noFigure() {
    const image = $("figure");
    image.hidden = true;
    const response = await fetch(image.src).catch(() => null);
    const said = response && !response.ok ? (await response.json().catch(() => null))?.error : null;
    $("figure-message").textContent = said ? `No such figure of these runs: ${said}.` : "The figure cannot be shown.";
  }
}

const COLORS = { train: "#0072b2", valid: "#d55e00" };
const BOX = { left: 48, top: 10, right: 410, bottom: 192 };

/** Two curves by epoch; a line with dashes and squares for held-out images. */
function chart(svg, rows, measure, planned) {
  const finite = rows.filter((row) => Number.isFinite(row[measure]));
  const last = Math.max(planned, 2, ...finite.map((row) => row.epoch));
  const top = measure === "dice" ? 1 : Math.max(1e-9, ...finite.map((row) => row.loss)) * 1.05;
  const x = (epoch) => BOX.left + ((epoch - 1) / (last - 1)) * (BOX.right - BOX.left);
  const y = (value) => BOX.bottom - (value / top) * (BOX.bottom - BOX.top);
  const parts = [];
  for (let tick = 0; tick <= 4; tick++) {
    const value = (top * tick) / 4;
    parts.push(shape("line", { x1: BOX.left, x2: BOX.right, y1: y(value), y2: y(value), class: "grid" }));
    parts.push(shape("text", { x: BOX.left - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(2)));
  }
  for (const epoch of new Set([1, Math.round((1 + last) / 2), last])) {
    parts.push(shape("text", { x: x(epoch), y: BOX.bottom + 18, "text-anchor": "middle" }, String(epoch)));
  }
  parts.push(shape("text", { x: (BOX.left + BOX.right) / 2, y: 230, "text-anchor": "middle" }, "epoch"));
  const words = [];
  for (const split of ["train", "valid"]) {
    const points = finite.filter((row) => row.split === split).map((row) => [x(row.epoch), y(row[measure])]);
    if (points.length === 0) continue;
    const line = points.map((point) => point.map((at) => at.toFixed(1)).join(",")).join(" ");
    const dashes = split === "train" ? "none" : "6 4";
    parts.push(shape("polyline", { points: line, fill: "none", stroke: COLORS[split], "stroke-width": 2.2, "stroke-dasharray": dashes }));
    for (const [cx, cy] of points) {
      parts.push(split === "train"
        ? shape("circle", { cx, cy, r: 3, fill: COLORS[split] })
        : shape("rect", { x: cx - 3, y: cy - 3, width: 6, height: 6, fill: COLORS[split] }));
    }
    const latest = finite.filter((row) => row.split === split).at(-1);
    words.push(`${split === "train" ? "training" : "held-out"} ${latest[measure].toFixed(3)}`);
  }
  svg.setAttribute("aria-label", `${measure} by epoch: ${words.join(", ") || "no epoch yet"}`);
  svg.replaceChildren(...parts);
}
