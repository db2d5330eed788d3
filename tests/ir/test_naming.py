"""Fresh names: what is free stays as wished, what is taken gets the first number that is free."""

from __future__ import annotations

from headrace.ir.naming import FreshNames


def test_a_name_is_handed_out_once() -> None:
    names = FreshNames()
    assert [names.fresh("x") for _ in range(3)] == ["x", "x_1", "x_2"]


def test_numbers_of_others_are_passed_over() -> None:
    names = FreshNames(["x", "x_2"])
    assert [names.fresh(wish) for wish in ("x", "x", "x_1", "x_2")] == ["x_1", "x_3", "x_1_1", "x_2_1"]


def test_names_that_are_taken_later_count_too() -> None:
    names = FreshNames()
    assert names.fresh("x") == "x"
    names.taken |= {"x_1"}
    assert names.fresh("x") == "x_2"
