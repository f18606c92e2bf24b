// Every formula of the page, which its HTML holds in TeX: a reader without scripts sees that.
for (const formula of document.querySelectorAll(".math"))
  katex.render(formula.textContent, formula, { displayMode: formula.tagName === "DIV", throwOnError: false });
