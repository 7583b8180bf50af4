"""How long OpenMP's threads, which are PyTorch's on the CPU, spin while they wait for each other.

By default they wait in a loop of 300,000 turns before they sleep. Two processes with a thread on each core then stop
each other: each waits for threads that the other one's spinning keeps from their core. `benchmarks/threads.py` measures
the choices; docs/training.md has the figures.
"""

import os

INFERENCE, TRAINING = 5_000, 10_000
"""Turns of the loop: the project's choices."""


def limit_spinning(count: int) -> None:
    """Set GOMP_SPINCOUNT (of GCC's OpenMP) for this process and its children before PyTorch is loaded.

    Nothing changes if the user has set it, or OMP_WAIT_POLICY.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = str(count)
