// What scrolls by itself can be reached by the keyboard, in browsers that do not see to it.
const scrollers = () => {
  for (const box of document.querySelectorAll(".highlight pre, .table-wrapper, .katex-display"))
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
};
addEventListener("load", scrollers);
addEventListener("resize", scrollers);
