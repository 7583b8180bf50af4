"""Tests of what runs on GPUs only: `make test-gpu`. Elsewhere they are skipped, with the reason."""

import pytest
import torch

GPUS = torch.cuda.device_count()


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if "tests/gpu/" in item.path.as_posix():
            item.add_marker(pytest.mark.gpu)
            needed = item.get_closest_marker("gpus")
            count = needed.args[0] if needed else 1
            if count > GPUS:
                item.add_marker(pytest.mark.skip(reason=f"needs {count} GPU, there are {GPUS}"))
