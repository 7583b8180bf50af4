"""Limits spinning for training. Import this before PyTorch is loaded; see `utils.runtime.spinning`."""

from utils.runtime.spinning import TRAINING, limit_spinning

limit_spinning(TRAINING)
