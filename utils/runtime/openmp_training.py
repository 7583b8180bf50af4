"""Limits spinning for training. Import this before PyTorch is loaded; see `utils.runtime.spinning`."""

from utils.runtime.spinning import limit_spinning

limit_spinning(10_000)
