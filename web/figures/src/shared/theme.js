// Dark or light: as the page that embeds the figure (furo's body[data-theme]), else as the system.

const dark = matchMedia("(prefers-color-scheme: dark)");

/** The body of the embedding page, where it may be read: not from file://, and not from another site. */
function outside() {
  try {
    return window.parent !== window && window.parent.document.body;
  } catch {
    return null;
  }
}

/** Keeps `data-theme` of the root element at "dark" or "light", and calls `changed` when it changes. */
export function followTheme(changed = () => {}) {
  const page = outside();
  const root = document.documentElement;
  const settle = () => {
    const asked = page ? page.dataset.theme : "auto";
    const theme = asked === "dark" || asked === "light" ? asked : dark.matches ? "dark" : "light";
    if (root.dataset.theme === theme) return;
    const first = !root.dataset.theme;
    root.dataset.theme = theme;
    if (!first) changed(theme);
  };
  settle();
  dark.addEventListener("change", settle);
  if (page) new MutationObserver(settle).observe(page, { attributes: true, attributeFilter: ["data-theme"] });
}

/** In a frame: marks the root element, and makes the frame as high as the figure where the figure may do so. */
export function fitFrame() {
  if (window.parent === window) return;
  document.documentElement.classList.add("embedded");
  let frame = null;
  try {
    frame = window.frameElement;
  } catch {
    // Another origin, as any two files are.
  }
  if (!frame) return;
  const fit = () => {
    if (!document.fullscreenElement) frame.style.height = `${Math.ceil(document.body.getBoundingClientRect().height)}px`;
  };
  new ResizeObserver(fit).observe(document.body);
  fit();
}
