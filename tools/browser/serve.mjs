// Drives the page of `cargo xtask serve` in Chromium, as a person would, and takes a picture of every state.
//
//     node serve.mjs ADDRESS FOLDER [STEP…]
//
// ADDRESS is where the page is, FOLDER takes pictures and downloads. Each step prints a line; what fails throws. The page is
// over `phantom`, with a run that prompts itself, and a run in the folder of runs that is under way.

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

const picture = (name) => page.screenshot({ path: join(folder, `${name}.png`) });
const canvas = page.locator("#canvas");
const facts = (method) => page.locator(`[data-method="${method}"] .facts`);

/** Does something that changes prompts, and waits until a method has answered it. */
async function answered(method, act) {
  const answer = page.waitForResponse(async (response) => {
    if (!response.url().endsWith("/api/answers") || response.status() !== 200) return false;
    return response.request().postDataJSON().method === method;
  });
  await act();
  const response = await answer;
  return { sent: response.request().postDataJSON(), got: await response.json() };
}

/** Waits until nothing is asked any more, so that a picture shows all answers. */
async function quiet() {
  await page.waitForLoadState("networkidle");
  await page.waitForTimeout(150);
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
    assert.match(await facts(0).textContent(), /predicted|waits/);
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
    const off = await onImage(0.1, 0.85);
    const background = await answered(0, () => page.mouse.click(off.x, off.y, { button: "right" }));
    assert.deepEqual(background.sent.points.map((one) => one.label), ["foreground", "background"]);
    await quiet();
    await picture("click");
  },

  async undo() {
    const once = await answered(0, () => page.keyboard.press("u"));
    assert.equal(once.sent.points.length, 1);
    await page.locator("#undo").click();
    await page.waitForFunction(() => document.querySelector('[data-method="0"] .facts').textContent === "waits for a prompt");
    assert.equal(await page.locator("#clear").isDisabled(), true);
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
    await page.locator("#tools label", { hasText: "Foreground" }).click();
    const cleared = page.waitForFunction(() => document.querySelector('[data-method="0"] .facts').textContent === "waits for a prompt");
    await page.locator("#clear").click();
    await cleared;
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
    await page.waitForFunction(() => document.querySelector('[data-method="0"] .facts').textContent === "waits for a prompt");
    await page.keyboard.press("b");
    for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowRight");
    for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowUp");
    const boxed = await answered(0, () => page.keyboard.press("b"));
    assert.equal(boxed.sent.box.length, 4);
    await quiet();
    await picture("keyboard");
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
    await picture("masks");
    await page.locator("#unsure").uncheck();
    await answered(1, () => page.keyboard.press("q"));
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
    await page.keyboard.press("]");
    await page.waitForFunction((name) => document.getElementById("image-name").textContent !== name, before);
    await ready();
    await page.keyboard.press("[");
    await page.waitForFunction((name) => document.getElementById("image-name").textContent === name, before);
    await ready();
    assert.ok(first.length > 0);
  },

  async exports() {
    for (const [label, check] of [
      ["Mask PNG", (bytes) => assert.equal(bytes.subarray(1, 4).toString(), "PNG")],
      ["Prompts JSON", (bytes) => assert.equal(JSON.parse(bytes).version, 1)],
      ["Panel SVG", (bytes) => assert.ok(bytes.includes("Prompts were chosen"))],
      ["Panel PNG", (bytes) => assert.equal(bytes.subarray(1, 4).toString(), "PNG")],
      ["Panel PDF", (bytes) => assert.equal(bytes.subarray(0, 4).toString(), "%PDF")],
    ]) {
      const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: label }).click()]);
      const bytes = await readFile(await download.path());
      check(bytes);
      await writeFile(join(folder, download.suggestedFilename()), bytes);
    }
    await picture("export");
  },

  async upload() {
    await page.locator("#file").setInputFiles({ name: "broken.png", mimeType: "image/png", buffer: Buffer.from("no image") });
    await page.locator("#message").waitFor();
    assert.match(await page.locator("#message").textContent(), /broken\.png cannot be opened/);
    await picture("bad-upload");
    await page.locator("#message button").click();
    const image = await (await context.request.get(`${address}api/images/g7/image.png`)).body();
    await page.locator("#file").setInputFiles({ name: "own.png", mimeType: "image/png", buffer: image });
    await page.waitForFunction(() => document.getElementById("image-name").textContent === "own.png");
    await ready();
    assert.equal(await page.locator("#truth-row").isHidden(), true, "nothing is known of one's own image");
    await picture("upload");
    await page.locator("#items button").nth(1).click();
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
