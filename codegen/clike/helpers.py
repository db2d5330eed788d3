"""Helper functions of a text in the C family, in the order of first use.  In: names and texts.  Out: the texts."""

from __future__ import annotations

from collections.abc import Callable

from headrace.codegen.clike.language import Language


class Helpers:
    """The helper functions that the text needs so far, and its language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.texts: dict[str, str] = {}

    def use(self, name: str, text: Callable[[], str]) -> str:
        """The helper's name; its text is made at the first use."""
        if name not in self.texts:
            self.texts[name] = text()
        return name
