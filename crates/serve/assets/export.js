// What somebody takes away.

import * as api from "./api.js";
import { $ } from "./dom.js";

export function start(session, { activePrompt, allPrompts, truth, withEncoding, say, complain }) {
  if (session.export) {
    $("save-row").hidden = false;
    $("save-folder").textContent = session.export;
  }
  $("exports").addEventListener("click", async (event) => {
    const what = event.target.dataset?.export;
    if (!what) return;
    const panel = what.startsWith("panel/");
    const content = panel ? { cells: allPrompts(), truth: truth() } : activePrompt();
    if (!content || (panel && content.cells.length === 0)) {
      complain("Nothing to take away yet: click on the image first.");
      return;
    }
    event.target.disabled = true;
    say("Making the file…");
    try {
      const taken = await withEncoding(() => api.take(what, content, $("save").checked));
      if (taken.path) {
        say(`Wrote ${taken.path}`);
      } else {
        download(taken);
        say(`Downloaded ${taken.name}`);
      }
    } catch (error) {
      complain(error.message);
    } finally {
      event.target.disabled = false;
    }
  });
}

function download({ blob, name }) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
