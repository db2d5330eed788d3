"""docs/operators.md is what the declarations say."""

from operators_page import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run python tests/support/operators_page.py"
