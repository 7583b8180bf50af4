"""How long PyTorch's threads spin while they wait for each other. Import this before PyTorch is loaded.

OpenMP's threads wait for the next piece of work in a loop, 300,000 turns by default, before they sleep. Two processes
with a thread on each core then stop each other: each waits for threads that the other one's spinning keeps from their
core. `benchmarks/threads.py` measures the choices. Importing this module sets GOMP_SPINCOUNT (of GCC's OpenMP, which
PyTorch's packages for Linux use) unless the user has set it, or OMP_WAIT_POLICY.
"""

import os

SPIN_COUNT = 10_000
"""Turns of the loop; alone as fast as the default, beside another process an order of magnitude faster."""


def limit_spinning() -> None:
    """Set the environment variable for this process and its children, unless the user has chosen."""
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)


limit_spinning()
