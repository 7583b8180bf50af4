"""How many mutated files each test reads: few by default, `pytest tests/robustness --mutations 500` for long runs."""

import pytest


@pytest.fixture(scope="session")
def mutations(request) -> int:
    return request.config.getoption("--mutations")
