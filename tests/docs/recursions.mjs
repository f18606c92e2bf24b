// Answers to the cases on standard input, by the program of the trellis explorer.
import { readFileSync } from "node:fs";
import { solve } from "../../web/figures/src/trellis/answers.js";

process.stdout.write(solve(readFileSync(0, "utf8")));
