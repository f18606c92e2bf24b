// Elements without HTML: whatever stands in a transcript stays text.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function button(text, label, action, attributes = {}) {
  return element("button", { type: "button", "aria-label": label, title: label, onclick: action, ...attributes }, text);
}

export const seconds = (time, digits = 3) => time.toFixed(digits);

export function clock(time) {
  const [whole, minutes] = [Math.floor(time), Math.floor(time / 60)];
  const rest = (time - 60 * minutes).toFixed(2).padStart(5, "0");
  return whole < 3600 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

export function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let place = 0; place < binary.length; place++) bytes[place] = binary.charCodeAt(place);
  return bytes;
}
