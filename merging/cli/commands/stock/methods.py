"""`methods`: print the tables of methods and recipes."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from merging.cli.console import say, say_json, say_table
from merging.cli.options import Options, add_json
from merging.methods.recipes import RECIPES
from merging.methods.registry import Method, methods
from merging.progress import Progress

NAME, HELP = "methods", "list the methods to align, combine and correct, their settings, and the papers' recipes"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """Print the tables."""
    if options.json:
        tables = {role: [_described(method) for method in table.values()] for role, table in methods().items()}
        recipes = [{**vars(recipe), "settings": dict(recipe.settings)} for recipe in RECIPES.values()]
        return say_json({**tables, "recipes": recipes})
    for role, table in methods().items():
        say(f"--{role}")
        say_table(("  key", "needs images", "what it does"), [_row(method) for method in table.values()])
        for method in table.values():
            for setting in _described(method)["settings"]:
                what = "{label}: {help} (default {default})".format_map(setting)
                say(f"    --set {role}.{setting['name']}=...  for {method.key}. {what}")
        say()
    say("--recipe")
    rows = [(f"  {r.key}", f"{r.align} > {r.combine} > {r.correct}", r.summary) for r in RECIPES.values()]
    say_table(("  key", "align > combine > correct", "what it does"), rows)
    return None


def _row(method: Method) -> tuple[str, str, str]:
    return f"  {method.key}", "yes" if method.needs_data else "", method.summary


def _described(method: Method) -> dict[str, Any]:
    keys = ("key", "label", "paper", "link", "summary", "limits", "needs_data")
    settings = [{"name": field.name, "default": field.default, **field.metadata} for field in fields(method.settings)]
    return {**{key: getattr(method, key) for key in keys}, "settings": settings}
