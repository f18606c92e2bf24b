// The page: an overview of recordings, or one of them, whichever the address asks for.
import { overview } from "./overview.js";
import { Recording } from "./recording.js";
import { followTheme } from "./theme.js";

const content = JSON.parse(document.getElementById("content").textContent);
const page = document.getElementById("page");
let shown = null;

function show() {
  shown?.close();
  page.replaceChildren();
  const { rows, sheets } = content;
  const asked = /^#\d+$/.test(location.hash) ? Number(location.hash.slice(1)) : -1;
  const number = sheets.length === 1 ? 0 : asked;
  if (sheets[number]) {
    const back = rows.length ? "#" : content.overview;
    shown = new Recording(page, sheets[number], back);
    document.title = sheets[number].name;
  } else {
    shown = overview(page, rows, content.title);
    document.title = content.title;
  }
}

followTheme(show);
addEventListener("hashchange", show);
addEventListener("beforeunload", (event) => {
  if (content.sheets.some(({ edits }) => edits?.unsaved)) event.preventDefault();
});
show();
