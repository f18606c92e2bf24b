// Makes docs/_static/figures/NAME.html, one page without other files each, of src/NAME/: `make figures`.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const target = "../../docs/_static/figures/";
const vendored = ["d3"];
const files = (folder) =>
  readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() ? files(`${folder}/${entry.name}`) : [`${folder}/${entry.name}`]));

// A test compares this with the sources of the figure, so that nobody forgets to build.
function digest(name) {
  const hash = createHash("sha256");
  const sources = ["build.js", "package-lock.json", ...files("src/shared"), ...files(`src/${name}`)];
  for (const source of sources) hash.update(readFileSync(source));
  return hash.digest("hex");
}

const notice = vendored
  .map((name) => {
    const folder = `node_modules/${name}/`;
    const { version, license } = JSON.parse(readFileSync(`${folder}package.json`));
    return `${name} ${version} (${license})\n\n${readFileSync(`${folder}LICENSE`, "utf8").trim()}\n`;
  })
  .join("\n");

async function bundled(entry) {
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    charset: "utf8",
    format: "iife",
    target: ["chrome111", "firefox113", "safari16.4"],
    loader: { ".json": "json" },
    write: false,
    logLevel: "info",
  });
  return result.outputFiles[0].text;
}

mkdirSync(target, { recursive: true });
for (const name of readdirSync("src")) {
  if (!existsSync(`src/${name}/page.html`)) continue; // what figures share
  const script = (await bundled(`src/${name}/main.js`)).replaceAll("</script", "<\\/script");
  const style = await bundled(`src/${name}/page.css`);
  const page = readFileSync(`src/${name}/page.html`, "utf8")
    .replace("<!-- style -->", () => `<style>${style}</style>`)
    .replace("<!-- script -->", () => `<script>/*! sources ${digest(name)}\n${notice}*/\n${script}</script>`);
  writeFileSync(`${target}${name}.html`, page);
}
