"""Limits spinning for inference. Import this before PyTorch is loaded; see `utils.runtime.spinning`."""

from utils.runtime.spinning import INFERENCE, limit_spinning

limit_spinning(INFERENCE)
