"""Blocks of the documents: what a reader would copy, and comparing it with what is so.

In: a page's text.  Out: fenced blocks by language, indented blocks, commands; and whether a block occurs in a text.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def page(name: str) -> str:
    """The text of docs/NAME."""
    return (DOCS / name).read_text()


def fenced(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """What stands behind the prompts of the console blocks."""
    return [line[2:] for block in fenced(text, "console") for line in block.splitlines() if line.startswith("$ ")]


def indented(text: str) -> list[str]:
    """The indented blocks, dedented; blank lines inside belong to them."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"(?:^\n)((?:^ {4}.*\n|^\n(?= {4}))+)", plain, re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


def occurs(block: str, text: str) -> bool:
    """Whether the block is part of the text: spaces and line breaks are alike, `...` stands for anything."""
    parts = [r"\s*".join(re.escape(word) for word in part.split()) for part in block.split("...")]
    return re.search(r"\s*.*?\s*".join(parts), text, re.DOTALL) is not None
