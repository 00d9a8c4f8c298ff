// Small helpers. Nothing here knows what the page shows.

export const $ = (id) => document.getElementById(id);

/** An element with properties and children; strings become text, never markup. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  fill(made, properties);
  made.append(...children);
  return made;
}

/** The same for SVG. */
export function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function fill(made, properties) {
  for (const [key, value] of Object.entries(properties)) {
    if (key === "dataset") Object.assign(made.dataset, value);
    else if (key.startsWith("aria-") || key === "role" || key === "scope") made.setAttribute(key, value);
    else made[key] = value;
  }
}

export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));

export function duration(secs) {
  if (secs === null || secs === undefined) return "–";
  if (secs < 60) return `${Math.round(secs)} s`;
  if (secs < 3600) return `${Math.floor(secs / 60)} min ${Math.round(secs % 60)} s`;
  return `${Math.floor(secs / 3600)} h ${Math.round((secs % 3600) / 60)} min`;
}

/** The key of an event; a letter is the same with Caps Lock. */
export const keyOf = ({ key, shiftKey }) => (key.length === 1 && !shiftKey ? key.toLowerCase() : key);

/** Whether keys belong to what is being typed into. */
export const isTyping = (target) =>
  target instanceof HTMLElement &&
  (target.matches("input:not([type=radio], [type=checkbox], [type=range]), select, textarea") || target.isContentEditable);
