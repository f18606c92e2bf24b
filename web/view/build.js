// Makes page.js, page.css and NOTICE of the Python package from what is here and in the lock file: `make web`.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const target = "../../semihmm/speech/view/";
const vendored = ["wavesurfer.js"];

// tests/speech/view compares this with the sources, so that nobody forgets to build.
const sources = ["build.js", "package-lock.json", ...readdirSync("src").sort().map((name) => `src/${name}`)];
const digest = createHash("sha256");
for (const source of sources) digest.update(readFileSync(source));

const notice = vendored
  .map((name) => {
    const folder = `node_modules/${name}/`;
    const { version, license } = JSON.parse(readFileSync(`${folder}package.json`));
    return `${name} ${version} (${license})\n\n${readFileSync(`${folder}LICENSE`, "utf8").trim()}\n`;
  })
  .join("\n");
writeFileSync(`${target}NOTICE`, `page.js holds parts of:\n\n${notice}`);

const common = { bundle: true, minify: true, charset: "utf8", logLevel: "info" };
await build({
  ...common,
  entryPoints: ["src/main.js"],
  outfile: `${target}page.js`,
  format: "iife",
  target: ["chrome111", "firefox113", "safari16.4"],
  loader: { ".css": "text" },
  banner: { js: `/*! sources ${digest.digest("hex")}\n${notice}*/` },
});
await build({ ...common, entryPoints: ["src/page.css"], outfile: `${target}page.css` });
