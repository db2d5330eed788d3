"""The models that tests of whole compilations run on."""

import pytest
from model_examples import REAL, Example, example_named


@pytest.fixture(scope="module", params=["digits", *REAL])
def example(request: pytest.FixtureRequest) -> Example:
    return example_named(request.param)
