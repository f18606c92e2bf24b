// Copies KaTeX of the version and checksum in the lock file into docs/_static/katex: `make math`. No page fetches anything.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";

const source = "node_modules/katex/";
const target = "../../docs/_static/katex/";
rmSync(target, { recursive: true, force: true });
mkdirSync(`${target}fonts`, { recursive: true });

copyFileSync(`${source}LICENSE`, `${target}LICENSE`);
copyFileSync(`${source}dist/katex.min.js`, `${target}katex.min.js`);
for (const font of readdirSync(`${source}dist/fonts`).sort())
  if (font.endsWith(".woff2")) copyFileSync(`${source}dist/fonts/${font}`, `${target}fonts/${font}`);

// Every browser that runs these pages reads WOFF2, so that the other two formats are left out.
const css = readFileSync(`${source}dist/katex.min.css`, "utf8");
writeFileSync(`${target}katex.min.css`, css.replace(/,url\([^)]*\.(woff|ttf)\) format\("[a-z]+"\)/g, ""));

// tests/docs compares this with the lock file and with the files, so that nobody forgets to build.
const sha256 = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");
const { version } = JSON.parse(readFileSync(`${source}package.json`));
const { integrity } = JSON.parse(readFileSync("package-lock.json")).packages["node_modules/katex"];
const names = ["LICENSE", "katex.min.css", "katex.min.js", ...readdirSync(`${target}fonts`).sort().map((name) => `fonts/${name}`)];
const files = Object.fromEntries(names.map((name) => [name, sha256(target + name)]));
writeFileSync(`${target}vendored.json`, `${JSON.stringify({ version, integrity, files }, null, 1)}\n`);
