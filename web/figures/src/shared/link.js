// The state of a figure is in its link: page.html#kind=hmm&step=3.

/** What a link says, an object of strings. */
export const readLink = (address = location.href) => Object.fromEntries(new URLSearchParams(new URL(address).hash.slice(1)));

/** Puts values into the link without a new entry in the history; null, undefined and "" are left out. */
export function writeLink(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = kept.map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&");
  if (`#${text}` === location.hash) return;
  try {
    history.replaceState(null, "", `#${text}`);
  } catch {
    location.hash = text; // a frame without an address of its own
  }
}

/** Calls `changed` with what the link says whenever somebody else changes it. */
export const onLink = (changed) => addEventListener("hashchange", (event) => changed(readLink(event.newURL)));

/** Copies the link of the figure itself; true if that was possible. */
export async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    return true;
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: location.href });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
