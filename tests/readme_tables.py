"""The README's tables as the program has them. `python -m tests.readme_tables` writes them into the README."""

from __future__ import annotations

import re
from pathlib import Path

from merging.methods.recipes import RECIPES
from merging.methods.registry import ROLES, table
from merging.zoo import catalogue

README = Path(__file__).resolve().parents[1] / "README.md"


def methods() -> str:
    """Every method: what it is for, its name, paper, summary, and whether it needs images."""
    rows = ["| step | method | paper | what it does | images |", "|---|---|---|---|---|"]
    for role in ROLES:
        for method in table(role).values():
            paper = f"[{method.paper}]({method.link})" if method.link else method.paper
            cells = (
                role,
                f"`{method.key}` {method.label}",
                paper,
                method.summary,
                "yes" if method.needs_data else "no",
            )
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def recipes() -> str:
    """Every recipe with its triple and paper."""
    rows = ["| recipe | align × combine × correct | paper |", "|---|---|---|"]
    for recipe in RECIPES.values():
        steps = " × ".join(f"`{key}`" for key in (recipe.align, recipe.combine, recipe.correct))
        paper = f"[{recipe.paper}]({recipe.link})" if recipe.link else recipe.paper
        rows.append(f"| {recipe.label} | {steps} | {paper} |")
    return "\n".join(rows)


def zoo() -> str:
    """Every shipped checkpoint with its test accuracy."""
    rows = ["| id | network | parameters | epochs | seed | test accuracy |", "|---|---|---|---|---|---|"]
    for entry in catalogue.shipped():
        cells = (f"`{entry.id}`", entry.label, f"{entry.parameters:,}", str(entry.epochs), str(entry.seed))
        rows.append(f"| {' | '.join(cells)} | {100 * (entry.accuracy or 0):.1f} % |")
    return "\n".join(rows)


TABLES = {"methods": methods, "recipes": recipes, "zoo": zoo}


def written(text: str) -> str:
    """The README with every table as the program has it."""
    for name, render in TABLES.items():
        block = f"<!-- {name} -->\n{render()}\n<!-- /{name} -->"
        text = re.sub(rf"<!-- {name} -->\n.*?<!-- /{name} -->", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    README.write_text(written(README.read_text("utf-8")), "utf-8")
