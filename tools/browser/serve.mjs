// Drives the page of `cargo xtask serve` in Chromium, as a person would, and takes a picture of every state.
//
//     node serve.mjs ADDRESS FOLDER [STEP…]
//
// ADDRESS is where the page is, FOLDER takes pictures and downloads. Each step prints a line; what fails throws. The page is
// over `phantom`, with a run that prompts itself and a folder for exports, and a run in the folder of runs is under way.

import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [address, folder] = process.argv.slice(2);
const wanted = process.argv.slice(4);
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
await mkdir(folder, { recursive: true });

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, acceptDownloads: true, colorScheme: "light" });
const page = await context.newPage();
page.setDefaultTimeout(20_000);
const complaints = [];
page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
page.on("console", (message) => {
  // The browser logs every answer of 400 and more; those are checked where they are expected.
  if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) complaints.push(message.text());
});
page.on("request", (request) => {
  const url = request.url();
  if (!url.startsWith(address) && !url.startsWith("blob:") && !url.startsWith("data:")) complaints.push(`asked ${url}`);
});

/** Prompts that are being answered. */
let asking = 0;
const isPrompt = (request) => request.url().endsWith("/api/answers");
page.on("request", (request) => (asking += isPrompt(request) ? 1 : 0));
for (const end of ["requestfinished", "requestfailed"]) page.on(end, (request) => (asking -= isPrompt(request) ? 1 : 0));

/** A picture of the page, with the methods unless what is below them is to be seen. */
async function picture(name, methods = true) {
  if (methods) await page.locator("#panel").evaluate((panel) => panel.scrollTo(0, 0));
  await page.screenshot({ path: join(folder, `${name}.png`) });
}
const canvas = page.locator("#canvas");
const facts = (method) => page.locator(`[data-method="${method}"] .facts`);

/** Does something that changes prompts, and waits until a method has answered it. */
async function answered(method, act) {
  const answer = page.waitForResponse((response) => {
    if (!response.url().endsWith("/api/answers") || response.status() !== 200) return false;
    return response.request().postDataJSON().method === method;
  });
  // Read at once: the browser forgets what was answered long ago.
  const read = answer.then(async (response) => ({ sent: response.request().postDataJSON(), got: await response.json() }));
  await act();
  return read;
}

const scores = (text) => Object.fromEntries([...text.matchAll(/(Dice|IoU|predicted) (\d\.\d+)/g)].map(([, name, value]) => [name, value]));

const waiting = () => page.waitForFunction(() => document.querySelector('[data-method="0"] .facts').textContent === "waits for a prompt");

/** The place of the image below the pointer, as the page says it. */
async function below() {
  const said = await page.locator("#cursor-at").textContent();
  const [x, y] = said.match(/-?\d+\.\d/g).map(Number);
  return { x, y };
}

const near = (at, x, y, far = 1) => assert.ok(Math.abs(at.x - x) < far && Math.abs(at.y - y) < far, `${at.x}, ${at.y} instead of ${x}, ${y}`);

/** Clicks on a button of "Take away"; name and bytes of the file, which is kept. */
async function takeAway(label) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: label }).click()]);
  const bytes = await readFile(await download.path());
  await writeFile(join(folder, download.suggestedFilename()), bytes);
  return { name: download.suggestedFilename(), bytes };
}

/** Width, height, and whether each pixel is on, of a picture of 0 and 255. */
async function pixelsOf(png) {
  const { width, height, values } = await page.evaluate(async (bytes) => {
    const picture = await createImageBitmap(new Blob([Uint8Array.from(bytes)], { type: "image/png" }));
    const { width, height } = picture;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(picture, 0, 0);
    return { width, height, values: [...context.getImageData(0, 0, width, height).data.filter((_, at) => at % 4 === 0)] };
  }, [...png]);
  assert.ok(values.every((value) => value === 0 || value === 255), "0 and 255");
  return { width, height, on: values.map((value) => value === 255) };
}

const expand = ({ runs }) => runs.flatMap((length, turn) => Array(length).fill(turn % 2 === 1));

/** The name of an image of the gallery in addresses. */
const keyOf = async (index) => (await (await context.request.get(`${address}api/gallery`)).json())[index].key;

/** Takes prompts, mask and image away, for `predict` to make the same mask. */
async function takeAll(key, width, height) {
  const mask = await takeAway("Mask PNG");
  const prompts = JSON.parse((await takeAway("Prompts JSON")).bytes);
  const [name] = Object.keys(prompts.images);
  const image = await (await context.request.get(`${address}api/images/${key}/image.png`)).body();
  await writeFile(join(folder, `${name.replace(/\.png$/, "")}.png`), image);
  const pixels = await pixelsOf(mask.bytes);
  assert.deepEqual([pixels.width, pixels.height], [width, height], "the mask has the image's size");
  return { prompts: prompts.images[name], on: pixels.on };
}

/** Waits until nothing is asked any more, so that a picture shows all answers. */
async function quiet() {
  for (let still = 0; still < 3; ) {
    await page.waitForTimeout(100);
    still = asking === 0 ? still + 1 : 0;
  }
}

async function ready() {
  await page.waitForFunction(() => document.getElementById("status").textContent.includes("is ready"));
  await quiet();
}

/** Places of the image, in shares of its sides, on the screen. */
async function onImage(x, y) {
  const box = await canvas.boundingBox();
  const size = await page.locator("#image-facts").textContent();
  const [width, height] = size.match(/\d+/g).map(Number);
  const scale = Math.min((box.width - 12) / width, (box.height - 12) / height);
  return {
    x: box.x + (box.width - width * scale) / 2 + x * width * scale,
    y: box.y + (box.height - height * scale) / 2 + y * height * scale,
    width,
    height,
    scale,
  };
}

async function clear() {
  if (await page.locator("#automatic").isChecked()) await page.locator("#automatic").uncheck();
  if (await page.locator("#clear").isEnabled()) await page.locator("#clear").click();
  await quiet();
}

const steps = {
  async load() {
    await page.goto(address);
    await page.locator("#items button").first().waitFor();
    assert.equal(await page.locator("#items button").count(), 100);
    await ready();
    // Frozen SAM has the automatic prompts of the last run, and shows what it made of them.
    await page.locator('[data-method="0"] .facts', { hasText: /Dice \d\.\d{3}.*predicted \d\.\d{3}.*ms/ }).waitFor();
    await quiet();
    await picture("load");
  },

  async automatic() {
    const method = await proposer();
    assert.match(await facts(method).textContent(), /Dice .*IoU .*predicted .*ms/);
    assert.equal(await page.locator("#undo").isDisabled(), true, "proposals are no step to undo");
    await picture("automatic");
  },

  async click() {
    await clear();
    const at = await onImage(0.5, 0.5);
    const foreground = await answered(0, () => page.mouse.click(at.x, at.y));
    const [point] = foreground.sent.points;
    assert.equal(point.label, "foreground");
    assert.ok(Math.abs(point.x - at.width / 2) < 1 && Math.abs(point.y - at.height / 2) < 1, JSON.stringify(point));
    assert.equal(foreground.got.mask.width, at.width);
    // What came of it is said to those who do not see it.
    await page.keyboard.press("1");
    const said = await answered(0, () => page.keyboard.press("q"));
    const words = new RegExp(`frozen.*: 1 prompt, Dice ${said.got.dice.toFixed(3)}, ${Math.round(said.got.milliseconds)} milliseconds`);
    await page.locator("#spoken", { hasText: words }).waitFor({ state: "attached" });
    await page.keyboard.press(String((await proposer()) + 1));
    assert.equal(await page.locator("#spoken").getAttribute("aria-live"), "polite");
    const off = await onImage(0.1, 0.85);
    const background = await answered(0, () => page.mouse.click(off.x, off.y, { button: "right" }));
    assert.deepEqual(background.sent.points.map((one) => one.label), ["foreground", "background"]);
    await quiet();
    await picture("click");
  },

  async undo() {
    // As it comes with Caps Lock.
    const once = await answered(0, () => page.keyboard.press("U"));
    assert.equal(once.sent.points.length, 1);
    await page.locator("#undo").click();
    await waiting();
    assert.equal(await page.locator("#clear").isDisabled(), true);
  },

  async honest() {
    await page.locator("#automatic").check();
    await page.waitForFunction(() => !document.getElementById("clear").disabled);
    await quiet();
    await page.locator("#clear").click();
    await waiting();
    assert.equal(await page.locator("#automatic").isChecked(), false, "no automatic prompt is left, and the box says so");
    await answered(0, () => page.locator("#undo").click());
    assert.equal(await page.locator("#automatic").isChecked(), true);
    await clear();
    assert.equal(await page.locator("#automatic").isChecked(), false);
  },

  async zoom() {
    await clear();
    const at = await onImage(0.3, 0.4);
    const where = { x: 0.3 * at.width, y: 0.4 * at.height };
    await page.mouse.move(at.x, at.y);
    near(await below(), where.x, where.y);
    await page.mouse.wheel(0, -400);
    await page.mouse.move(at.x + 1, at.y);
    await page.mouse.move(at.x, at.y);
    near(await below(), where.x, where.y, 0.6);
    const scale = at.scale * Math.E;
    const zoomed = await answered(0, () => page.mouse.click(at.x + 40, at.y + 20));
    near(zoomed.sent.points[0], where.x + 40 / scale, where.y + 20 / scale, 0.6);
    // Space and drag takes the image along.
    await page.keyboard.down(" ");
    await page.mouse.move(at.x, at.y);
    await page.mouse.down();
    await page.mouse.move(at.x + 60, at.y - 30, { steps: 5 });
    await page.mouse.up();
    await page.keyboard.up(" ");
    const panned = await answered(0, () => page.mouse.click(at.x + 60 - 50, at.y - 30 + 15));
    near(panned.sent.points[1], where.x - 50 / scale, where.y + 15 / scale, 0.6);
    near(panned.sent.points[0], zoomed.sent.points[0].x, zoomed.sent.points[0].y, 0.01);
    await quiet();
    await picture("zoom");
    await page.keyboard.press("0");
    const corner = await onImage(0.9, 0.9);
    const fitted = await answered(0, () => page.mouse.click(corner.x, corner.y));
    near(fitted.sent.points[2], 0.9 * at.width, 0.9 * at.height);
    // The marker is where it was set, also for a hand.
    const first = await onImage(zoomed.sent.points[0].x / at.width, zoomed.sent.points[0].y / at.height);
    const removed = await answered(0, () => page.mouse.dblclick(first.x, first.y));
    assert.equal(removed.sent.points.length, 2);
    await clear();
  },

  async cancel() {
    await clear();
    // As if the image had made room for others, and took its time to be encoded again.
    const [tickets, left] = [[], []];
    await page.route("**/encoding*", async (route) => {
      const request = route.request();
      if (request.method() === "GET") return route.fulfill({ json: { state: "encoding", done: 3, all: 12 } });
      if (request.method() === "DELETE") left.push(Number(new URL(request.url()).searchParams.get("ticket")));
      const response = await route.fetch();
      if (request.method() !== "POST") return route.fulfill({ response });
      const joined = await response.json();
      tickets.push(joined.ticket);
      return route.fulfill({ json: { ...joined, state: "encoding", done: 1, all: 12 } });
    });
    await page.route("**/api/answers", (route) => route.fulfill({ status: 409, json: { error: "the image is not encoded" } }));
    for (const x of [0.4, 0.6]) {
      const at = await onImage(x, 0.5);
      await page.mouse.click(at.x, at.y);
      await page.locator("#progress").waitFor();
      await page.waitForTimeout(200);
    }
    assert.match(await page.locator("#progress-text").textContent(), /Encoding the image/);
    await picture("encoding");
    await page.locator("#cancel").click();
    await page.locator("#message").waitFor();
    assert.match(await page.locator("#message").textContent(), /was cancelled/);
    assert.equal(await page.locator("#progress").isHidden(), true);
    await page.waitForTimeout(200);
    assert.equal(tickets.length, 1, "both clicks wait for one encoding");
    assert.deepEqual(left, tickets, "and it is given up");
    await picture("cancelled");
    await page.unroute("**/encoding*");
    await page.unroute("**/api/answers");
    const { sent } = await answered(0, () => page.locator("#message button").click());
    assert.equal(sent.points.length, 2, "the prompts are still there");
    await quiet();
    // A server that has too much to do says so, and so does the page.
    await page.route("**/api/answers", (route) => route.fulfill({ status: 429, json: { error: "too many prompts wait already" } }));
    const again = await onImage(0.5, 0.3);
    await page.mouse.click(again.x, again.y);
    await page.locator('[data-method="0"] .facts.error', { hasText: "too many prompts wait already" }).waitFor();
    await page.unroute("**/api/answers");
    await clear();
  },

  async masks() {
    await clear();
    const told = await page.evaluate(async () => {
      const { region, segments } = await import("/masks.js");
      const runsOf = (pixels) => {
        const runs = [];
        let [on, length] = [0, 0];
        for (const pixel of pixels) {
          if (pixel !== on) {
            runs.push(length);
            [on, length] = [pixel, 0];
          }
          length += 1;
        }
        return [...runs, length];
      };
      // Every edge between two pixels that differ is in one piece, and nothing else is.
      const wrong = [];
      for (let turn = 0; turn < 500; turn++) {
        const [width, height] = [1 + (turn % 7), 1 + (turn % 5)];
        const pixels = Array.from({ length: width * height }, () => Number(Math.random() < [0.1, 0.5, 0.9][turn % 3]));
        const edges = new Set();
        for (let y = 0; y < height; y++) {
          for (let x = 0; x < width; x++) {
            const here = pixels[y * width + x];
            if (x > 0 && here !== pixels[y * width + x - 1]) edges.add(`${x} ${y} down`);
            if (y > 0 && here !== pixels[(y - 1) * width + x]) edges.add(`${x} ${y} right`);
          }
        }
        const found = [];
        const pieces = segments({ width, height, runs: runsOf(pixels) });
        for (let i = 0; i < pieces.length; i += 4) {
          const [x0, y0, x1, y1] = pieces.slice(i, i + 4);
          for (let x = x0; x < x1; x++) found.push(`${x} ${y0} right`);
          for (let y = y0; y < y1; y++) found.push(`${x0} ${y} down`);
        }
        const same = found.length === edges.size && found.every((edge) => edges.has(edge));
        if (!same) wrong.push({ width, height, pixels });
      }
      // A photograph of 12 megapixels: an array, or a call, for each pixel would be millions of them.
      const [width, height] = [4000, 3000];
      const runs = [0];
      for (let y = 0; y < height; y++) runs.push(width / 2, width / 2);
      let calls = 0;
      const set = Uint8ClampedArray.prototype.set;
      Uint8ClampedArray.prototype.set = function (...given) {
        calls += 1;
        return set.apply(this, given);
      };
      const canvas = region({ width, height, runs }, [86, 180, 233]);
      Uint8ClampedArray.prototype.set = set;
      const context = canvas.getContext("2d");
      const at = (x, y) => [...context.getImageData(x, y, 1, 1).data];
      return { wrong, calls, on: at(10, 2999), off: at(2000, 2999) };
    });
    assert.deepEqual(told.wrong, []);
    assert.ok(told.calls < 10, `${told.calls} calls`);
    assert.deepEqual([told.on, told.off], [[86, 180, 233, 255], [0, 0, 0, 0]]);
    // What is not shown is not traced.
    await page.evaluate(() => {
      window.traced = 0;
      const Path = window.Path2D;
      window.Path2D = class extends Path {
        constructor(...given) {
          super(...given);
          window.traced += 1;
        }
      };
    });
    await page.locator("#contour").uncheck();
    const at = await onImage(0.5, 0.5);
    await answered(0, () => page.mouse.click(at.x, at.y));
    await quiet();
    assert.equal(await page.evaluate(() => window.traced), 0);
    await page.locator("#contour").check();
    assert.equal(await page.evaluate(() => window.traced), 1);
    await clear();
  },

  async box() {
    await clear();
    await page.locator("#tools label", { hasText: "Box" }).click();
    const [from, to] = [await onImage(0.3, 0.3), await onImage(0.7, 0.7)];
    const { sent } = await answered(0, async () => {
      await page.mouse.move(from.x, from.y);
      await page.mouse.down();
      await page.mouse.move((from.x + to.x) / 2, to.y, { steps: 4 });
      await page.mouse.move(to.x, to.y, { steps: 4 });
      await page.mouse.up();
    });
    const expected = [0.3 * from.width, 0.3 * from.height, 0.7 * from.width, 0.7 * from.height];
    sent.box.forEach((corner, at) => assert.ok(Math.abs(corner - expected[at]) < 2, `${sent.box}`));
    assert.deepEqual(sent.points, []);
    await quiet();
    await picture("box");
    // Hands hold it by its corners and edges; what lies inside is clicked on.
    const drag = async (from, to) => {
      const [a, b] = [await onImage(...from), await onImage(...to)];
      return (await answered(0, async () => {
        await page.mouse.move(a.x, a.y);
        await page.mouse.down();
        await page.mouse.move(b.x, b.y, { steps: 5 });
        await page.mouse.up();
      })).sent;
    };
    const is = (sent, shares) => {
      const corners = [shares[0] * from.width, shares[1] * from.height, shares[2] * from.width, shares[3] * from.height];
      sent.box.forEach((corner, at) => assert.ok(Math.abs(corner - corners[at]) < 2, `${sent.box} instead of ${corners}`));
      assert.deepEqual(sent.points, []);
    };
    is(await drag([0.7, 0.7], [0.8, 0.75]), [0.3, 0.3, 0.8, 0.75]);
    is(await drag([0.3, 0.3], [0.9, 0.4]), [0.8, 0.4, 0.9, 0.75]);
    is(await drag([0.85, 0.4], [0.65, 0.3]), [0.6, 0.3, 0.7, 0.65]);
    is(await drag([0.6, 0.5], [0.1, 0.5]), [0.1, 0.3, 0.2, 0.65]);
    const edge = await onImage(0.15, 0.3);
    await page.mouse.click(edge.x, edge.y, { button: "right" });
    await waiting();
    await answered(0, () => page.locator("#undo").click());
    await page.mouse.click(edge.x, edge.y);
    assert.match(await page.locator("#status").textContent(), /^box/);
    await page.keyboard.press("Delete");
    await waiting();
    await answered(0, () => page.locator("#undo").click());
    await page.locator("#tools label", { hasText: "Foreground" }).click();
    await page.locator("#clear").click();
    await waiting();
  },

  async keyboard() {
    await clear();
    await canvas.focus();
    await answered(0, () => page.keyboard.press("Enter"));
    await page.keyboard.press("ArrowRight");
    const { sent } = await answered(0, () => page.keyboard.press("Shift+Enter"));
    const [one, other] = sent.points;
    assert.deepEqual([one.label, other.label], ["foreground", "background"]);
    assert.ok(other.x > one.x && other.y === one.y, JSON.stringify(sent.points));
    await page.keyboard.press("m");
    const moved = await answered(0, () => page.keyboard.press("ArrowUp"));
    assert.ok(moved.sent.points[0].y < one.y && moved.sent.points[1].y === one.y);
    const left = await answered(0, () => page.keyboard.press("Delete"));
    assert.deepEqual(left.sent.points.map((point) => point.label), ["background"]);
    await page.keyboard.press("u");
    await page.keyboard.press("u");
    await page.keyboard.press("u");
    await page.keyboard.press("u");
    await waiting();
    await page.keyboard.press("b");
    for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowRight");
    for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowUp");
    const boxed = await answered(0, () => page.keyboard.press("B"));
    assert.equal(boxed.sent.box.length, 4);
    // A box alone is chosen, moved, stretched and removed too.
    await page.keyboard.press("m");
    assert.match(await page.locator("#status").textContent(), /^box/);
    await quiet();
    await picture("keyboard");
    const [x0, y0, x1, y1] = boxed.sent.box;
    const right = await answered(0, () => page.keyboard.press("ArrowRight"));
    const step = right.sent.box[0] - x0;
    assert.ok(step > 0, `${right.sent.box}`);
    assert.deepEqual(right.sent.box, [x0 + step, y0, x1 + step, y1]);
    const longer = await answered(0, () => page.keyboard.press("Shift+ArrowDown"));
    assert.deepEqual(longer.sent.box, [x0 + step, y0, x1 + step, y1 + step]);
    await page.keyboard.press("Delete");
    await waiting();
    const back = await answered(0, () => page.keyboard.press("u"));
    assert.deepEqual(back.sent.box, longer.sent.box);
    // Everything that can be clicked has a name for those who do not see it.
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("button, input, select, a, canvas, progress, [role=img]")]
        .filter((one) => {
          if (one.closest("[aria-hidden=true]")) return false;
          const labels = [...(one.labels ?? [])].map((label) => label.textContent).join("");
          return !(one.getAttribute("aria-label") || one.textContent.trim() || labels.trim() || one.title);
        })
        .map((one) => one.outerHTML.slice(0, 120)));
    assert.deepEqual(nameless, []);
    await page.locator("#clear").click();
  },

  async drag() {
    await page.locator("#automatic").check();
    await quiet();
    await page.waitForFunction(() => !document.getElementById("clear").disabled);
    const method = await proposer();
    // The first proposal, by where the answer says it is.
    const { got } = await answered(method, async () => {
      await page.locator("#automatic").uncheck();
      await page.locator("#automatic").check();
    });
    const size = await onImage(0, 0);
    // One in the middle of the image is not hidden by others at its edge.
    const points = got.points.map(({ x, y }) => [x / size.width, y / size.height]);
    points.sort((a, b) => Math.hypot(a[0] - 0.5, a[1] - 0.5) - Math.hypot(b[0] - 0.5, b[1] - 0.5));
    await quiet();
    const from = await onImage(...points[0]);
    const to = await onImage(0.2, 0.8);
    const { sent } = await answered(0, async () => {
      await page.mouse.move(from.x, from.y);
      await page.mouse.down();
      await page.mouse.move(to.x, to.y, { steps: 6 });
      await page.mouse.up();
    });
    assert.equal(sent.automatic, false);
    assert.equal(sent.points.length, points.length, "all proposals are prompts of the frozen SAM too");
    const moved = sent.points.filter(({ x, y }) => Math.hypot(x / size.width - 0.2, y / size.height - 0.8) < 0.02);
    assert.ok(moved.length >= 1, JSON.stringify(sent.points));
    await quiet();
    await picture("drag");
    await page.keyboard.press("u");
    await quiet();
  },

  async own() {
    // The box that a run proposes becomes the person's when it is moved, and is not proposed again when it is removed.
    await clear();
    const proposal = { x: 12, y: 9 };
    await page.route("**/api/answers", async (route) => {
      const asked = route.request().postDataJSON();
      const response = await route.fetch();
      const answer = await response.json();
      if (asked.automatic) answer.box = [proposal.x, proposal.y, proposal.x + 40, proposal.y + 30];
      return route.fulfill({ json: answer });
    });
    await page.locator("#automatic").check();
    await page.waitForFunction(() => !document.getElementById("clear").disabled);
    await quiet();
    const size = await onImage(0, 0);
    const at = (x, y) => onImage(x / size.width, y / size.height);
    const [from, to] = [await at(proposal.x, proposal.y + 15), await at(proposal.x + 6, proposal.y + 20)];
    const { sent } = await answered(0, async () => {
      await page.mouse.move(from.x, from.y);
      await page.mouse.down();
      await page.mouse.move(to.x, to.y, { steps: 3 });
      await page.mouse.up();
    });
    assert.equal(sent.automatic, false);
    const expected = [proposal.x + 6, proposal.y + 5, proposal.x + 46, proposal.y + 35];
    sent.box.forEach((corner, at) => assert.ok(Math.abs(corner - expected[at]) < 1, `${sent.box}`));
    await quiet();
    await picture("automatic-box");
    const removed = await answered(0, () => page.mouse.click(to.x, to.y, { button: "right" }));
    assert.equal(removed.sent.box, null);
    assert.ok(removed.sent.points.length > 0, "its points are still there, and no new one is");
    await quiet();
    await page.unroute("**/api/answers");
    await clear();
  },

  async several() {
    // Two runs that prompt themselves, frozen SAM beside.
    const sources = await page.locator("#source option").evaluateAll((all) => all.map((one) => Number(one.value)));
    assert.equal(sources.length, 2);
    const [other, last] = sources;
    const asked = async (method, act) => {
      const request = page.waitForRequest((one) => one.url().endsWith("/api/answers") && one.postDataJSON().method === method);
      const done = answered(method, act);
      return { first: (await request).postDataJSON(), ...(await done) };
    };
    const drawn = () => page.locator("#methods .small canvas").evaluateAll((all) => all.map((one) => {
      const { width, height } = one.getBoundingClientRect();
      return { width, height, pixels: one.toDataURL() };
    }));
    await clear();
    await waiting();
    const bare = await drawn();
    assert.equal(bare.length, 3);
    assert.equal(new Set(bare.map((one) => one.pixels)).size, 1, "the image, without a mask");
    await page.keyboard.press(String(last + 1));
    await page.locator("#automatic").check();
    await quiet();
    // The prompts of another run go to all.
    const shared = asked(last, () => page.locator("#source").selectOption(String(other)));
    const source = await answered(other, () => shared);
    assert.equal(source.sent.automatic, true);
    const { sent } = await shared;
    assert.equal(sent.automatic, false);
    const places = ({ points }) => points.map(({ x, y }) => `${x.toFixed(2)} ${y.toFixed(2)}`).sort();
    assert.deepEqual(places(sent), places(source.got));
    await quiet();
    await picture("methods");
    const masked = await drawn();
    assert.equal(masked.length, 3);
    assert.ok(masked.every((one) => one.pixels !== bare[0].pixels), "each with its mask");
    for (const { width } of masked) assert.ok(width >= 110 && width <= 200, `${width} pixels wide`);
    // Each for itself: nobody proposes for frozen SAM.
    const alone = asked(other, () => page.locator("#same").uncheck());
    const own = await answered(last, () => alone);
    assert.deepEqual([own.sent.automatic, own.sent.points], [true, []]);
    assert.deepEqual([(await alone).sent.automatic, (await alone).sent.points], [true, []]);
    await waiting();
    await quiet();
    const at = await onImage(0.5, 0.5);
    const clicks = Promise.all([0, other].map((method) => asked(method, () => {})));
    const clicked = await answered(last, () => page.mouse.click(at.x, at.y));
    assert.deepEqual([clicked.sent.automatic, clicked.sent.points.length], [true, 1]);
    assert.ok(clicked.got.points.length > 1, "its own beside the click");
    const [frozen, beside] = await clicks;
    assert.deepEqual([frozen.sent.automatic, frozen.sent.points.length], [false, 1]);
    assert.deepEqual([beside.sent.automatic, beside.sent.points.length], [true, 1]);
    await quiet();
    await page.locator("#source").selectOption(String(last));
    await page.locator("#same").check();
    await quiet();
    await clear();
  },

  async restart() {
    // Another server at the same address, which does not know these images.
    await clear();
    await page.route("**/api/session", (route) => route.fulfill({ json: { server: "another" } }));
    await page.route("**/api/answers", (route) => route.fulfill({ status: 409, json: { error: "the image is not encoded" } }));
    await page.route("**/encoding", (route) => route.fulfill({ status: 404, json: { error: "there is no image" } }));
    const at = await onImage(0.5, 0.5);
    await page.mouse.click(at.x, at.y);
    await page.locator("#message", { hasText: "The server was started again: reload this page." }).waitFor();
    // Every method was told so.
    await quiet();
    for (const path of ["**/api/session", "**/api/answers", "**/encoding"]) await page.unroute(path);
    await page.locator("#message button").click();
    await page.locator("#automatic").check();
    await quiet();
  },

  async methods() {
    for (const [index, digit] of [[0, "1"], [1, "2"]]) {
      await page.keyboard.press(digit);
      assert.equal(await page.locator(`[data-method="${index}"]`).getAttribute("aria-pressed"), "true");
    }
    const mask = await answered(1, () => page.locator('[data-mask="2"]').click());
    assert.equal(mask.sent.mask, 2);
    assert.equal(mask.got.shown, 2);
    await page.locator("#truth").check();
    await page.locator("#unsure").check();
    await quiet();
    await picture("masks", false);
    await page.locator("#unsure").uncheck();
    await answered(1, () => page.keyboard.press("q"));
    // A group of which one is chosen: Tab leads to that, arrows to the others.
    const tabbed = () => page.locator('#masks [tabindex="0"]').evaluateAll((all) => all.map((one) => one.dataset.mask));
    assert.deepEqual(await tabbed(), ["0"]);
    await page.locator('[data-mask="0"]').focus();
    const next = await answered(1, () => page.keyboard.press("ArrowRight"));
    assert.equal(next.got.shown, 1);
    await quiet();
    assert.deepEqual(await tabbed(), ["1"]);
    assert.equal(await page.evaluate(() => document.activeElement.dataset.mask), "1");
    const around = await answered(1, () => page.keyboard.press("End"));
    assert.equal(around.got.shown, 2);
    const first = await answered(1, () => page.keyboard.press("ArrowDown"));
    assert.equal(first.got.shown, 0);
  },

  async gallery() {
    await page.locator("#search").fill("0002");
    const few = await page.locator("#items button").count();
    assert.ok(few >= 1 && few < 100, `${few}`);
    await page.locator("#search").fill("");
    const sorts = await page.locator("#sort option").allTextContents();
    assert.ok(sorts.some((name) => name.startsWith("lowest Dice")), `${sorts}`);
    await page.locator("#sort").selectOption({ label: sorts.find((name) => name.startsWith("lowest Dice")) });
    const first = await page.locator("#items .name").first().textContent();
    const dice = await page.locator("#items .dice").allTextContents();
    assert.ok(dice.length >= 1 && dice.every((one, at) => at === 0 || Number(one) >= Number(dice[at - 1])), `${dice}`);
    await page.locator("#sort").selectOption("name");
    const before = await page.locator("#image-name").textContent();
    await page.locator("h1").click();
    for (const [forward, backward] of [["]", "["], ["n", "p"]]) {
      await page.keyboard.press(forward);
      await page.waitForFunction((name) => !["", name].includes(document.getElementById("image-name").textContent), before);
      await ready();
      await page.keyboard.press(backward);
      await page.waitForFunction((name) => document.getElementById("image-name").textContent === name, before);
      await ready();
    }
    await page.locator("#sort").selectOption({ label: sorts.find((name) => name.startsWith("highest Dice")) });
    const high = await page.locator("#items .dice").allTextContents();
    assert.deepEqual(high, [...dice].reverse());
    assert.equal(await page.locator("#items .name").nth(dice.length - 1).textContent(), first);
    await page.locator("#sort").selectOption("name");
  },

  async exports() {
    // The run, so that the file of prompts can be given to `predict --run`.
    const method = await proposer();
    await page.keyboard.press(String(method + 1));
    await clear();
    const key = await page.locator('#items [aria-current="true"]').getAttribute("data-key");
    const at = await onImage(0.45, 0.55);
    await answered(method, () => page.mouse.click(at.x, at.y));
    const off = await onImage(0.12, 0.2);
    const { got } = await answered(method, () => page.mouse.click(off.x, off.y, { button: "right" }));
    await quiet();
    const taken = await takeAll(key, at.width, at.height);
    assert.deepEqual(taken.prompts.points.map((point) => point.label), ["foreground", "background"]);
    assert.deepEqual(taken.on, expand(got.mask), "the mask that is shown");
    const truth = expand(await (await context.request.get(`${address}api/images/${key}/truth`)).json());
    const count = (list) => list.filter(Boolean).length;
    const both = count(taken.on.map((on, pixel) => on && truth[pixel]));
    const dice = (2 * both) / (count(taken.on) + count(truth));
    assert.equal(dice.toFixed(3), scores(await facts(method).textContent()).Dice);
    const shown = (await page.locator("#methods button .facts").allTextContents()).map(scores);
    // One that made room for others meanwhile is encoded again.
    let [gone, joined] = [0, 0];
    await page.route("**/api/exports/mask.png*", (route) =>
      gone++ === 0 ? route.fulfill({ status: 409, json: { error: "the image is not encoded" } }) : route.continue());
    await page.route("**/encoding", (route) => {
      joined += route.request().method() === "POST" ? 1 : 0;
      return route.continue();
    });
    assert.deepEqual((await pixelsOf((await takeAway("Mask PNG")).bytes)).on, taken.on);
    assert.deepEqual([gone, joined], [2, 1]);
    await page.unroute("**/api/exports/mask.png*");
    await page.unroute("**/encoding");
    const svg = (await takeAway("Panel SVG")).bytes.toString();
    assert.ok(svg.includes("Prompts were chosen by a person"));
    // The panel says what the page says.
    for (const { Dice, IoU } of shown) assert.ok(svg.includes(`Dice ${Dice}`) && svg.includes(`IoU ${IoU}`), `${Dice} ${IoU}`);
    const png = (await takeAway("Panel PNG")).bytes;
    assert.ok(png.readUInt32BE(16) > 1000 && png.readUInt32BE(20) > 200, "as large as a figure");
    const pdf = (await takeAway("Panel PDF")).bytes.toString("latin1");
    assert.ok(pdf.startsWith("%PDF") && pdf.trimEnd().endsWith("%%EOF"));
    // Into the folder that the server was started with; a second file of the name takes nothing away.
    await page.locator("#save").check();
    for (const ending of ["-mask.png", "-mask-2.png"]) {
      await page.getByRole("button", { name: "Mask PNG" }).click();
      await page.waitForFunction((ending) => document.getElementById("status").textContent.endsWith(ending), ending);
      assert.match(await page.locator("#status").textContent(), /^Wrote /);
    }
    await picture("export", false);
    await page.locator("#save").uncheck();
  },

  async upload() {
    await page.locator("#file").setInputFiles({ name: "broken.png", mimeType: "image/png", buffer: Buffer.from("no image") });
    await page.locator("#message").waitFor();
    assert.match(await page.locator("#message").textContent(), /broken\.png cannot be opened/);
    await picture("bad-upload");
    await page.locator("#message button").click();
    const image = await (await context.request.get(`${address}api/images/${await keyOf(7)}/image.png`)).body();
    await page.locator("#file").setInputFiles({ name: "own.png", mimeType: "image/png", buffer: image });
    await page.waitForFunction(() => document.getElementById("image-name").textContent === "own.png");
    await ready();
    assert.equal(await page.locator("#truth-row").isHidden(), true, "nothing is known of one's own image");
    assert.match(await page.locator("#truth-none").textContent(), /not known/);
    assert.match(await page.locator("#image-facts").textContent(), /no true mask/);
    await picture("upload");
    // Automatic prompts and a click, for `predict`.
    const method = await proposer();
    const key = await page.locator('#items [aria-current="true"]').getAttribute("data-key");
    await page.locator("#automatic").check();
    await page.waitForFunction(() => !document.getElementById("clear").disabled);
    const at = await onImage(0.5, 0.4);
    const { sent, got } = await answered(method, () => page.mouse.click(at.x, at.y));
    assert.equal(sent.automatic, true);
    await quiet();
    const taken = await takeAll(key, at.width, at.height);
    assert.deepEqual([taken.prompts.automatic, taken.prompts.points.length], [true, 1]);
    assert.deepEqual(taken.on, expand(got.mask));
    await page.locator("#items button").nth(1).click();
    await ready();
    assert.equal(await page.locator("#truth-none").isHidden(), true);
  },

  async drop() {
    const image = await (await context.request.get(`${address}api/images/${await keyOf(9)}/image.png`)).body();
    const drop = async (name, bytes, more) => {
      const transfer = await page.evaluateHandle(([name, bytes, more]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(bytes), new Uint8Array(more)], name, { type: "image/png" }));
        return transfer;
      }, [name, [...bytes], more]);
      await page.dispatchEvent("#stage", "dragover", { dataTransfer: transfer });
      assert.equal(await page.locator("#drop-hint").isVisible(), true);
      await page.dispatchEvent("#stage", "drop", { dataTransfer: transfer });
      assert.equal(await page.locator("#drop-hint").isVisible(), false);
    };
    await drop("dropped.png", image, 0);
    await page.waitForFunction(() => document.getElementById("image-name").textContent === "dropped.png");
    await ready();
    assert.equal(await page.locator("#items button").first().getAttribute("title"), "dropped.png");
    const at = await onImage(0.5, 0.5);
    await answered(0, () => page.mouse.click(at.x, at.y));
    await drop("large.png", [], 65 << 20);
    await page.locator("#message").waitFor();
    assert.match(await page.locator("#message").textContent(), /large\.png cannot be opened: it has 65 MiB, at most 64 MiB/);
    await page.locator("#message button").click();
    // What the server says when it has no room is shown as well.
    await page.route("**/api/uploads*", (route) => route.fulfill({ status: 429, json: { error: "there is no room for it" } }));
    await drop("late.png", image, 0);
    await page.locator("#message", { hasText: "late.png cannot be opened: there is no room for it" }).waitFor();
    await page.unroute("**/api/uploads*");
    await page.locator("#message button").click();
    await page.locator("#items button").nth(2).click();
    await ready();
  },

  async help() {
    await page.locator("h1").click();
    await page.keyboard.press("?");
    assert.equal(await page.locator("#help").evaluate((dialog) => dialog.open), true);
    await picture("help");
    await page.keyboard.press("Escape");
    await page.locator("#theme").click();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
    await quiet();
    await picture("dark");
    await page.locator("#theme").click();
  },

  async sizes() {
    for (const [name, width, height] of [["small", 1024, 700], ["tablet", 820, 1100]]) {
      await page.setViewportSize({ width, height });
      await quiet();
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${wide} pixels wide on ${width}`);
      const stage = await canvas.boundingBox();
      assert.ok(stage.width >= 400 && stage.height >= 350, JSON.stringify(stage));
      const bar = await page.locator("#toolbar").boundingBox();
      assert.ok(bar.height < 70, `the tools take ${bar.height} pixels, more than a line`);
      await picture(name);
    }
    await page.setViewportSize({ width: 1280, height: 800 });
  },

  async live() {
    await page.locator("#tab-runs").click();
    const running = page.locator("#run-table tr", { has: page.locator(".state.running") });
    await running.first().waitFor();
    await running.first().locator("button").click();
    // It goes on while somebody looks.
    await page.waitForFunction(() => /epoch [1-9]/.test(document.getElementById("run-facts").textContent));
    const epoch = () => page.evaluate(() => Number(/epoch (\d+)/.exec(document.getElementById("run-facts").textContent)?.[1] ?? 0));
    const first = await epoch();
    await page.waitForFunction((first) => Number(/epoch (\d+)/.exec(document.getElementById("run-facts").textContent)?.[1] ?? 0) > first, first);
    assert.match(await page.locator("#chart-dice").getAttribute("aria-label"), /training \d/);
    assert.match(await page.locator("#run-log").textContent(), /epoch \d/);
    await picture("live");
    // A server that is away for a moment takes nothing from the view.
    const before = await page.locator("#run-name").textContent();
    const rows = await page.locator("#run-table tbody tr").count();
    await page.route("**/api/runs**", (route) => route.abort("connectionreset"));
    await page.locator("#status", { hasText: "Trying again" }).waitFor();
    assert.equal(await page.locator("#run-name").textContent(), before);
    assert.equal(await page.locator("#run-table tbody tr").count(), rows);
    const then = await epoch();
    await page.unroute("**/api/runs**");
    await page.waitForFunction(() => document.getElementById("status").textContent === "");
    await page.waitForFunction((then) => Number(/epoch (\d+)/.exec(document.getElementById("run-facts").textContent)?.[1] ?? 0) > then, then);
    // And one lost answer is asked for again before anybody sees it.
    let lost = 0;
    await page.route("**/api/runs", (route) => (lost++ === 0 ? route.abort("connectionreset") : route.continue()));
    await page.waitForTimeout(2500);
    assert.ok(lost >= 2, `${lost}`);
    assert.equal(await page.locator("#status").textContent(), "");
    await page.unroute("**/api/runs");
    // One whose folder is gone leaves its place to another.
    const gone = await page.locator("#run-name").textContent();
    const { runs } = await (await context.request.get(`${address}api/runs`)).json();
    const others = runs.filter((run) => `${run.experiment}/${run.run}` !== gone);
    await page.route("**/api/runs", (route) => route.fulfill({ json: { runs: others } }));
    await page.route(`**/api/runs/${gone}`, (route) => route.fulfill({ status: 404, json: { error: "there is no such run" } }));
    await page.waitForFunction((gone) => !["", gone].includes(document.getElementById("run-name").textContent), gone);
    await page.waitForFunction(() => document.getElementById("status").textContent === "");
    await page.unroute("**/api/runs");
    await page.unroute(`**/api/runs/${gone}`);
  },

  async results() {
    const rows = await page.locator("#result-table tbody tr").count();
    assert.ok(rows >= 1, "a finished run");
    await page.locator("#figure").waitFor();
    await page.waitForFunction(() => document.getElementById("figure").naturalWidth > 0);
    await page.locator("#figure").scrollIntoViewIfNeeded();
    await picture("results");
  },
};

/** The last method that prompts itself. */
async function proposer() {
  return page.locator("#source").inputValue().then(Number);
}

try {
  for (const [name, step] of Object.entries(steps)) {
    if (wanted.length > 0 && name !== "load" && !wanted.includes(name)) continue;
    await step();
    assert.deepEqual(complaints, [], `after ${name}`);
    console.log(`ok ${name}`);
  }
} catch (error) {
  await picture("failure").catch(() => {});
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
