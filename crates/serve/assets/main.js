// The page: which image is open, what is asked of which method, what is shown.

import * as api from "./api.js";
import { $, element, isTyping, keyOf, score } from "./dom.js";
import * as exporting from "./export.js";
import { Gallery } from "./gallery.js";
import { MASK, onImage, outline, preview, region, unsure } from "./masks.js";
import { Prompts } from "./prompts.js";
import { Runs } from "./runs.js";
import { View } from "./view.js";

const POLL_MS = 60;
/** Longest side of the image beside a method, in pixels. */
const SMALL_SIDE = 320;

const page = {
  session: null,
  /** { key, name, width, height, truth } */
  image: null,
  /** The same image small, for the methods side by side. */
  small: null,
  /** Grows with every image that is opened: what belongs to a former one is dropped. */
  opening: 0,
  /** The encoding that is waited for: { key, opening, ticket, done } */
  encoding: null,
  ready: false,
  prompts: new Prompts(),
  /** Whether images are opened with automatic prompts. */
  automatic: true,
  active: 0,
  /** Which of the three masks was chosen by hand, by method. */
  masks: [],
  /** By method: { answer, trip, drawn, error } */
  answers: [],
  asking: null,
  /** The true mask, and its outline once it was shown. */
  truth: null,
  truthOutline: null,
};

const say = (text) => ($("status").textContent = text);

/** For those who do not see the mask. */
const tell = (text) => ($("spoken").textContent = text);

function complain(text) {
  const box = $("message");
  box.replaceChildren(element("p", {}, text), element("button", { onclick: () => (box.hidden = true) }, "Close"));
  box.hidden = false;
}

const view = new View($("canvas"), {
  prompts: () => page.prompts,
  tool: () => document.querySelector("input[name=tool]:checked").value,
  addPoint(x, y, label) {
    if (!page.ready) return;
    page.prompts.add(x, y, label);
    changed();
  },
  setBox(corners) {
    if (!page.ready) return;
    page.prompts.setBox(corners);
    changed();
  },
  beginMove: () => page.prompts.remember(),
  move(index, x, y) {
    page.prompts.move(index, x, y);
    changedSoon();
  },
  moveBox(corners) {
    page.prompts.moveBox(corners);
    changedSoon();
  },
  endMove: () => changed(),
  remove(index) {
    page.prompts.remove(index);
    changed();
  },
  removeBox() {
    page.prompts.removeBox();
    changed();
  },
  selected(index) {
    const { points, box } = page.prompts;
    const point = points[index];
    const own = (marker, name) => `${marker.automatic ? "automatic " : ""}${name}`;
    if (point) say(`${own(point, point.label)} point ${index + 1} of ${points.length}`);
    else if (box && index === points.length) say(`${own(box, "box")}: arrows move it, Shift and arrows its last corner`);
    else say("no marker chosen");
  },
  hover(at) {
    $("cursor-at").textContent = at ? `x ${at.x.toFixed(1)}, y ${at.y.toFixed(1)}` : "";
  },
});

const runs = new Runs();
let gallery;

// Opening an image

async function open(key) {
  giveUp();
  const opening = ++page.opening;
  page.asking?.abort();
  const prompts = new Prompts(page.automatic);
  Object.assign(page, { ready: false, prompts, masks: [], answers: [], truth: null, truthOutline: null, image: null, small: null });
  $("message").hidden = true;
  say("");
  tell("");
  gallery.choose(key);
  showPrompts();
  showMethods();
  showMasks();
  try {
    const image = await api.describe(key);
    const picture = await load(api.picture(key));
    if (opening !== page.opening) return;
    page.image = image;
    $("image-name").textContent = image.name;
    $("image-facts").textContent = `${image.width} × ${image.height} pixels${image.truth ? "" : " · no true mask"}`;
    $("truth-row").hidden = !image.truth;
    $("truth-none").hidden = image.truth;
    view.show(picture);
    page.small = shrunk(picture);
    showMethods();
    if (image.truth) {
      const truth = await api.truth(key);
      if (opening !== page.opening) return;
      page.truth = truth;
    }
    await prepare(opening);
  } catch (error) {
    if (opening !== page.opening) return;
    $("progress").hidden = true;
    if (!page.image) {
      view.show(null);
      $("image-name").textContent = "";
      $("image-facts").textContent = "";
    }
    complain(error.message);
  }
}

/** Has the open image encoded, and asks what there is to ask. */
async function prepare(opening) {
  if (!(await encode(page.image.key, opening))) return;
  page.ready = true;
  say(`${page.image.name} is ready: click on the image`);
  showPrompts();
  await ask();
}

/** A picture as large as it is shown beside a method, and as dense as screens are. */
function shrunk(picture) {
  const scale = SMALL_SIDE / Math.max(picture.width, picture.height);
  const small = document.createElement("canvas");
  small.width = Math.max(1, Math.round(picture.width * scale));
  small.height = Math.max(1, Math.round(picture.height * scale));
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, small.width, small.height);
  return small;
}

function load(address) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("The image cannot be shown."));
    image.src = address;
  });
}

/**
 * Waits until the image is encoded; tells how far it is. Says whether it is. Whoever asks meanwhile waits for the same: there is
 * one ticket, and Cancel gives it back.
 */
function encode(key, opening) {
  if (page.encoding?.key === key && page.encoding.opening === opening) return page.encoding.done;
  const encoding = { key, opening, ticket: null };
  page.encoding = encoding;
  encoding.done = encoded(encoding).finally(() => {
    if (page.encoding !== encoding) return;
    page.encoding = null;
    $("progress").hidden = true;
  });
  return encoding.done;
}

async function encoded(encoding) {
  const { key, opening } = encoding;
  const joined = await api.join(key);
  if (opening !== page.opening) {
    api.leave(key, joined.ticket);
    return false;
  }
  encoding.ticket = joined.ticket;
  let progress = joined;
  while (progress.state !== "ready") {
    $("progress").hidden = false;
    if (progress.state === "failed") throw new Error(`The image cannot be encoded: ${progress.reason}`);
    if (progress.state === "absent") throw new Error("The encoding was cancelled.");
    const waiting = progress.state === "waiting";
    $("progress-text").textContent = waiting ? `Waiting for ${progress.before} other image${progress.before === 1 ? "" : "s"}…` : "Encoding the image, once for all methods…";
    $("progress-bar").value = waiting || !progress.all ? 0 : progress.done / progress.all;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (opening !== page.opening) return false;
    progress = await api.encoding(key);
    if (opening !== page.opening) return false;
  }
  return true;
}

/** Nobody waits for the image that was being encoded any more. */
function giveUp() {
  const { encoding } = page;
  if (encoding?.ticket) api.leave(encoding.key, encoding.ticket);
  page.encoding = null;
  $("progress").hidden = true;
}

function cancel() {
  giveUp();
  page.opening++;
  page.asking?.abort();
  page.ready = false;
  say("Cancelled.");
  const again = element("button", { onclick: resume }, "Encode it after all");
  $("message").replaceChildren(element("p", {}, "The encoding was cancelled."), again);
  $("message").hidden = false;
}

/** After a cancelled encoding: the prompts that there were are asked again. */
async function resume() {
  $("message").hidden = true;
  const opening = ++page.opening;
  try {
    await prepare(opening);
  } catch (error) {
    if (opening === page.opening) complain(error.message);
  }
}

async function take(file) {
  if (!file) return;
  say(`Reading ${file.name}…`);
  try {
    const { upload_bytes: most } = page.session;
    // The server would say so too, but perhaps close the line before all was sent, and then nobody hears it.
    if (file.size > most) throw new Error(`it has ${megabytes(file.size)}, at most ${megabytes(most)} are taken.`);
    const image = await api.upload(file);
    gallery.add(image.key, image.name);
    say("");
    await open(image.key);
  } catch (error) {
    say("");
    complain(`${file.name} cannot be opened: ${error.message}`);
  }
}

const megabytes = (bytes) => `${Math.ceil(bytes / 2 ** 20)} MiB`;

// Asking

let soon = null;

/** While a marker is dragged: as often as answers come. */
function changedSoon() {
  if (soon) return;
  soon = setTimeout(async () => {
    await ask({ onlyActive: true });
    soon = null;
  }, 0);
}

function changed() {
  clearTimeout(soon);
  soon = null;
  // What was said of a marker may hold no longer.
  say("");
  showPrompts();
  view.draw();
  ask();
}

const methods = () => page.session.methods;

/** Names are shown without what they all begin with. */
function shortName(method) {
  const experiments = new Set(methods().filter((one) => one.name.includes("/")).map((one) => one.name.split("/")[0]));
  return experiments.size === 1 ? method.name.split("/").at(-1) : method.name;
}

const useAutomatic = () => page.prompts.automatic;
const same = () => $("same").checked;
const proposer = () => ($("source").value === "" ? null : Number($("source").value));

/** What is asked of a method, or nothing if it has no prompt. */
function promptOf(method) {
  const { points, box, edited } = page.prompts;
  const mask = page.masks[method] ?? null;
  const base = { image: page.image.key, method, mask };
  const sent = (list) => list.map(({ x, y, label }) => ({ x, y, label }));
  const ownProposal = useAutomatic() && methods()[method].proposes && !edited;
  if (ownProposal && (!same() || method === proposer())) {
    const own = points.filter((point) => !point.automatic);
    const corners = box && !box.automatic ? box.corners : null;
    return { ...base, automatic: true, points: sent(own), box: corners };
  }
  const shared = same() ? points : points.filter((point) => !point.automatic || edited);
  const corners = box && (same() || !box.automatic || edited) ? box.corners : null;
  if (shared.length === 0 && !corners) return null;
  return { ...base, automatic: false, points: sent(shared), box: corners };
}

/** Asks the method on the image first, then the others. Automatic prompts come with the first answer of their method. */
async function ask({ onlyActive = false } = {}) {
  if (!page.ready) return;
  page.asking?.abort();
  const asking = new AbortController();
  page.asking = asking;
  const opening = page.opening;
  const stale = () => asking.signal.aborted || opening !== page.opening;
  const source = proposer();
  const order = [page.active, ...methods().keys()].filter((one, at, all) => all.indexOf(one) === at);
  if (useAutomatic() && source !== null && !page.prompts.edited && same()) {
    order.splice(order.indexOf(source), 1);
    order.unshift(source);
  } else if (!useAutomatic() && !page.prompts.edited) {
    page.prompts.withdraw();
  }
  for (const method of order) {
    if (onlyActive && method !== page.active) continue;
    const prompt = promptOf(method);
    if (!prompt) {
      page.answers[method] = null;
      continue;
    }
    const start = performance.now();
    try {
      const answer = await withEncoding(() => api.answer(prompt, asking.signal));
      if (stale()) return;
      const trip = performance.now() - start;
      page.answers[method] = { answer, trip, drawn: {} };
      if (prompt.automatic && method === (same() ? source : page.active)) takeProposal(answer, prompt);
    } catch (error) {
      if (stale()) return;
      page.answers[method] = { error: error.message };
      if (error.restarted) complain(error.message);
    }
    if (method === page.active) paint();
    showMethods();
  }
  if (stale()) return;
  showMethods();
  showMasks();
  paint();
  if (!onlyActive) tell(outcome());
}

/** What was asked and what came of it, in words. */
function outcome() {
  const state = page.answers[page.active];
  if (state?.error) return state.error;
  if (!state?.answer) return "No prompts, no mask.";
  const { points, box, dice, milliseconds } = state.answer;
  const prompts = points.length + (box ? 1 : 0);
  const words = [`${prompts} prompt${prompts === 1 ? "" : "s"}`];
  if (typeof dice === "number") words.push(`Dice ${score(dice)}`);
  words.push(`${Math.round(milliseconds)} milliseconds`);
  return `${shortName(methods()[page.active])}: ${words.join(", ")}.`;
}

/** Once more after the image was encoded again, if it had made room for others. */
async function withEncoding(request) {
  try {
    return await request();
  } catch (error) {
    if (error.status !== 409 || !(await encode(page.image.key, page.opening))) throw error;
    return request();
  }
}

/** The markers of what a module proposed: an answer has its points first, then those that were sent. */
function takeProposal(answer, prompt) {
  const count = answer.points.length - prompt.points.length;
  const label = (value) => (value === 1 ? "foreground" : "background");
  // A module may propose a place on the padding; for the others it is the nearest one on the image.
  const points = answer.points.slice(0, count).map((point) => ({ ...view.clamp(point), label: label(point.label) }));
  page.prompts.propose(points, prompt.box ? null : answer.box);
  showPrompts();
}

// Showing

function paint() {
  const shown = page.answers[page.active];
  const overlay = { opacity: $("opacity").value / 100 };
  if (shown?.answer) {
    // Each is made when it is shown first, and kept.
    const { answer, drawn } = shown;
    if (overlay.opacity > 0) overlay.region = drawn.region ??= region(answer.mask, MASK);
    if ($("contour").checked) overlay.outline = drawn.outline ??= outline(answer.mask);
    if ($("unsure").checked) overlay.unsure = drawn.unsure ??= unsure(answer.probabilities);
  }
  if ($("truth").checked && page.truth) overlay.truth = page.truthOutline ??= outline(page.truth);
  view.overlay = overlay;
  view.draw();
}

function showPrompts() {
  const { prompts } = page;
  $("automatic").checked = prompts.automatic;
  $("undo").disabled = !prompts.canUndo;
  $("clear").disabled = prompts.isEmpty;
}

function showMethods() {
  const list = $("methods");
  const focused = document.activeElement?.dataset?.method;
  list.replaceChildren(
    ...methods().map((method, index) => {
      const state = page.answers[index];
      const scores = [];
      if (state?.answer) {
        const { dice, iou, iou_predictions, shown, milliseconds } = state.answer;
        if (page.image?.truth) scores.push(`Dice ${score(dice)}`, `IoU ${score(iou)}`);
        scores.push(`predicted ${score(iou_predictions[shown])}`, `${Math.round(milliseconds)} ms`);
      }
      // A line ends behind a dot, and not within a number.
      const dotted = scores.map((text, at) => (at + 1 < scores.length ? `${text} ·` : text));
      const whole = dotted.flatMap((text) => [element("span", { className: "whole" }, text), " "]);
      const facts = scores.length > 0 ? whole : [state?.error ?? (page.ready ? "waits for a prompt" : "")];
      const button = element("button", {
        className: "method",
        dataset: { method: String(index) },
        title: state?.trip ? `${method.name}: ${Math.round(state.trip)} ms to and fro` : method.name,
      });
      button.setAttribute("aria-pressed", index === page.active ? "true" : "false");
      button.append(small(state), element("span", { className: "method-text" },
        element("strong", {}, shortName(method), " ", ...tags(method)),
        element("span", { className: state?.error ? "facts error" : "facts" }, ...facts)));
      if (index < 9) button.append(element("kbd", {}, String(index + 1)));
      return button;
    }),
  );
  if (focused) list.querySelector(`[data-method="${focused}"]`)?.focus();
  $("active-name").textContent = methods()[page.active] ? shortName(methods()[page.active]) : "";
}

const tags = (method) => [
  ...(method.proposes ? [element("i", { className: "tag", title: "It has a prompt module" }, "prompts"), " "] : []),
  ...(method.shifts ? [element("i", { className: "tag", title: "It shifts the mask tokens" }, "shift")] : []),
];

function small(state) {
  const box = element("span", { className: "small" });
  if (!page.small) return box;
  // Made once for each answer: this is shown again whenever anything is.
  if (state?.answer) state.drawn.small ??= onImage(page.small, state.answer.previews[state.answer.shown]);
  box.append(state?.drawn?.small ?? onImage(page.small, null));
  return box;
}

function showMasks() {
  const list = $("masks");
  const answer = page.answers[page.active]?.answer;
  if (!answer) {
    list.replaceChildren(element("p", { className: "hint" }, "No mask yet."));
    return;
  }
  const focused = document.activeElement?.dataset?.mask;
  const chosen = page.masks[page.active] ?? answer.shown;
  list.replaceChildren(
    ...answer.previews.map((map, index) => {
      const button = element("button", { role: "radio", className: "mask", dataset: { mask: String(index) } },
        preview(map), element("span", {}, score(answer.iou_predictions[index])));
      button.setAttribute("aria-checked", index === chosen ? "true" : "false");
      // Tab leads to the chosen one, arrows to the others.
      button.tabIndex = index === chosen ? 0 : -1;
      button.setAttribute("aria-label", `mask ${index + 1}, predicted IoU ${score(answer.iou_predictions[index])}`);
      return button;
    }),
  );
  if (focused) list.querySelector(`[data-mask="${focused}"]`)?.focus();
}

function activate(method) {
  if (!methods()[method]) return;
  page.active = method;
  showMethods();
  showMasks();
  paint();
  if (page.ready) tell(outcome());
  if (!same()) {
    page.prompts.withdraw();
    ask();
  }
}

function chooseMask(index) {
  if (!page.answers[page.active]?.answer?.previews[index]) return;
  page.masks[page.active] = index;
  showMasks();
  ask();
}

/** The arrows of a group of which one is chosen. */
function stepMask(event) {
  const from = Number(event.target.closest("button")?.dataset.mask ?? NaN);
  const count = $("masks").querySelectorAll("button").length;
  const steps = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
  let to = from + steps[event.key];
  if (event.key === "Home") to = 0;
  if (event.key === "End") to = count - 1;
  if (Number.isNaN(from) || Number.isNaN(to)) return;
  event.preventDefault();
  to = (to + count) % count;
  chooseMask(to);
  $("masks").querySelector(`[data-mask="${to}"]`)?.focus();
}

function undo() {
  if (!page.prompts.canUndo) return;
  page.prompts.undo();
  changed();
}

function clear() {
  if (page.prompts.isEmpty) return;
  page.prompts.clear();
  changed();
}

/** Automatic prompts come anew, also where they had been changed by hand. */
function automaticChanged() {
  page.automatic = $("automatic").checked;
  page.prompts.useAutomatic(page.automatic);
  showPrompts();
  view.draw();
  ask();
}

function showRuns(shown) {
  $("runs-view").hidden = !shown;
  $("prompt-view").hidden = shown;
  $("tab-runs").setAttribute("aria-pressed", shown ? "true" : "false");
  $("tab-prompt").setAttribute("aria-pressed", shown ? "false" : "true");
  say("");
  if (shown) runs.start();
  else {
    runs.stop();
    view.fitted ? view.fit() : view.draw();
  }
  location.hash = shown ? "runs" : "";
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // A browser without storage forgets it.
  }
}

const toggle = (id) => $(id).click();

const KEYS = {
  "u": undo, "c": clear, "+": () => view.zoom(1.25), "=": () => view.zoom(1.25), "-": () => view.zoom(0.8), "0": () => view.fit(),
  "[": () => gallery.step(-1), "]": () => gallery.step(1), "p": () => gallery.step(-1), "n": () => gallery.step(1), "q": () => chooseMask(0), "w": () => chooseMask(1), "e": () => chooseMask(2),
  "a": () => toggle("automatic"), "t": () => toggle("truth"), "l": () => toggle("unsure"),
};

function key(event) {
  if (isTyping(event.target) || $("help").open || event.altKey) return;
  const pressed = keyOf(event);
  if (event.ctrlKey || event.metaKey) {
    if (pressed !== "z") return;
    event.preventDefault();
    undo();
    return;
  }
  if (event.key === "?") $("help").showModal();
  else if (pressed === "r") showRuns($("runs-view").hidden);
  else if ($("prompt-view").hidden) return;
  else if (event.key === "/") $("search").focus();
  else if (/^[1-9]$/.test(event.key)) activate(Number(event.key) - 1);
  else if (pressed in KEYS) KEYS[pressed]();
  else return;
  event.preventDefault();
}

function wire() {
  document.addEventListener("keydown", key);
  $("undo").addEventListener("click", undo);
  $("clear").addEventListener("click", clear);
  $("zoom-in").addEventListener("click", () => view.zoom(1.25));
  $("zoom-out").addEventListener("click", () => view.zoom(0.8));
  $("fit").addEventListener("click", () => view.fit());
  $("previous").addEventListener("click", () => gallery.step(-1));
  $("next").addEventListener("click", () => gallery.step(1));
  $("cancel").addEventListener("click", cancel);
  $("theme").addEventListener("click", theme);
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("tab-prompt").addEventListener("click", () => showRuns(false));
  $("tab-runs").addEventListener("click", () => showRuns(true));
  $("methods").addEventListener("click", (event) => {
    const method = event.target.closest("button")?.dataset.method;
    if (method !== undefined) activate(Number(method));
  });
  $("masks").addEventListener("click", (event) => {
    const mask = event.target.closest("button")?.dataset.mask;
    if (mask !== undefined) chooseMask(Number(mask));
  });
  $("masks").addEventListener("keydown", stepMask);
  for (const id of ["opacity", "contour", "truth", "unsure"]) $(id).addEventListener("input", paint);
  for (const id of ["same", "source", "automatic"]) $(id).addEventListener("change", automaticChanged);
  $("file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = "";
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop-hint").hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) $("drop-hint").hidden = true;
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop-hint").hidden = true;
    take(event.dataTransfer.files[0]);
  });
  addEventListener("pagehide", giveUp);
  exporting.start(page.session, {
    activePrompt: () => (page.ready ? promptOf(page.active) : null),
    allPrompts: () => (page.ready ? [...methods().keys()].map(promptOf).filter(Boolean) : []),
    truth: () => $("truth").checked,
    withEncoding,
    say,
    complain,
  });
}

async function start() {
  try {
    document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "";
  } catch {
    // As above.
  }
  page.session = await api.session();
  runs.offer(page.session.figure_kinds);
  $("gallery-name").textContent = page.session.gallery;
  const proposers = [...methods().entries()].filter(([, method]) => method.proposes);
  for (const [index, method] of proposers) $("source").append(element("option", { value: String(index) }, shortName(method)));
  if (proposers.length > 0) {
    // The last one has everything that those before it have.
    $("source").value = String(proposers.at(-1)[0]);
    page.active = proposers.at(-1)[0];
  }
  $("source-row").hidden = proposers.length === 0;
  $("automatic").closest("label").hidden = proposers.length === 0;
  gallery = new Gallery(methods(), open);
  wire();
  showMethods();
  await gallery.load();
  if (location.hash === "#runs") showRuns(true);
  gallery.step(0);
}

start().catch((error) => complain(error.message));
