"""Options about the machine: GPUs, reading processes, the folder of the annotation index."""

from utils.options.parser import given_text, option, whole_number


def add_cache_option(group) -> None:
    text = "folder for the index of a gt.mat (default: beside it, or the user's cache where that is read-only)"
    option(group, "--cache-dir", given_text, None, "DIR", text)


def add_machine_options(group, *, workers: bool = True) -> None:
    option(group, "--ngpus", whole_number(0), 1, "N", "GPUs to use; 0, or a machine without one: the CPU")
    if workers:
        text = "processes that read data (default: 1 on the CPU, else one a core, at most 8)"
        option(group, "--num-workers", whole_number(0), None, "N", text)
