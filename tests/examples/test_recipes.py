"""The recipes in `docs/recipes`: each is on their index, and asks one question before it answers."""

import re
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
PAGES = sorted(page for page in RECIPES.glob("*.md") if page.stem != "index")


def test_the_index_lists_each_recipe_by_its_title() -> None:
    index = (RECIPES / "index.md").read_text(encoding="utf-8")
    titles = {page.name: page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for page in PAGES}
    listed = re.findall(r"^- \[(.+)\]\((\w+\.md)\): ", index, re.MULTILINE)
    assert sorted(listed) == sorted((title, name) for name, title in titles.items())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_recipe_asks_a_question_shows_code_and_links_to_more(page: Path) -> None:
    _, question, *rest = page.read_text(encoding="utf-8").split("\n\n")
    assert re.fullmatch(r"\*[^*]+\?\*", question)
    answer = "\n\n".join(rest)
    assert "```python" in answer and re.search(r"\]\(\.\./(guides|tutorials)/", answer)
