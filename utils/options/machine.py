"""Options for the machine: GPUs, worker processes, the folder of the annotation index."""

from utils.deploy.engines import BACKENDS
from utils.options.parser import nonempty_text, option, whole_number

MOST_IMAGES, MOST_WORKERS, MOST_ROUNDS = 4096, 256, 1000
"""Upper bounds, for the sake of the memory: images in a batch, worker processes, draws of a frame in an epoch."""


def add_cache_option(group) -> None:
    """Add the option of the annotation index's folder."""
    text = "folder for the index of a gt.mat (default: beside it, or the user's cache folder if that is read-only)"
    option(group, "--cache-dir DIR", nonempty_text, None, text)


def add_backend_option(group) -> None:
    """Add the option of what runs an exported file."""
    text = "what runs an exported file (default: onnxruntime for .onnx, openvino for .xml)"
    option(group, "--backend", str, None, text, choices=list(BACKENDS))


def add_machine_options(group, *, workers: bool = True) -> None:
    """Add the options of GPUs and, with workers, of the processes that read data."""
    option(group, "--ngpus N", whole_number(0), 1, "GPUs to use; 0, or a machine without a GPU: the CPU")
    if workers:
        text = "worker processes that read data (default: 1 on the CPU, else one for each core of its share, at most 8)"
        option(group, "--num-workers N", whole_number(0, MOST_WORKERS), None, text)
    text = (
        "threads on the CPU (default: OMP_NUM_THREADS, else one for each core of the affinity mask and the CPU quota)"
    )
    option(group, "--threads N", whole_number(1), None, text)
