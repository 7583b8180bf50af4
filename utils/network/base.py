"""The base class of the networks, for code in `utils` that knows a network by its channels and its output only."""

from collections.abc import Mapping

import torch
from torch import nn

from utils.maps import Prediction
from utils.network.channels import ORIGINAL_PLAN
from utils.network.origin import Origin


class TextNetwork(nn.Module):
    """Base class of `model.FOTSModel`; maps images (N, 3, H, W) to a `utils.maps.Prediction`.

    The constructor of a subclass takes a channel plan by the keyword `plan`.
    """

    plan: dict[str, int]
    """Channels by channel group."""
    origin: Origin
    """The network before all pruning, and which of its channels this network has."""

    def early(self, images: torch.Tensor) -> torch.Tensor:
        """The maps after the first encoder stage, (N, C, H / 4, W / 4), which a `Rejector` reads."""
        raise NotImplementedError

    def finish(self, stride4: torch.Tensor) -> Prediction:
        """The rest of the forward pass, from the maps of `early`."""
        raise NotImplementedError

    @property
    def pruned(self) -> bool:
        """Whether the widths differ from the original network's."""
        return self.plan != ORIGINAL_PLAN

    def with_plan(self, plan: Mapping[str, int]) -> "TextNetwork":
        """A new, untrained network of the same class at the widths of a channel plan."""
        return type(self)(plan=plan)  # type: ignore[call-arg]  # nn.Module's constructor has no such keyword
