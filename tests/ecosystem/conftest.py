"""Every kind of tokenizer, one after another."""

import pytest

from tests.ecosystem.tokenizer_cases import CASES, make


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp(request.param.replace(" ", "-")))
