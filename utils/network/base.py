"""What the code in `utils` knows of a network: its channels and its output."""

from torch import nn

from utils.network.channels import ORIGINAL_PLAN
from utils.network.origin import Origin


class TextNetwork(nn.Module):
    """Base class of `model.FOTSModel`; maps images (N, 3, H, W) to a `utils.maps.Prediction`."""

    plan: dict[str, int]
    """Channels by channel group."""
    origin: Origin
    """Which channels of which network these are."""

    @property
    def pruned(self) -> bool:
        """Whether the widths differ from the original network's."""
        return self.plan != ORIGINAL_PLAN
