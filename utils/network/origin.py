"""The origin of a network's channels.

It lets a pruned network be compared, channel by channel, with the network that it was pruned from.
"""

import hashlib
import secrets
from collections.abc import Mapping
from typing import NamedTuple

import torch

from utils.errors import UserError
from utils.network.channels import LAYERS, ORIGINAL_PLAN, all_channels


class Origin(NamedTuple):
    """The network before all pruning, and which of its channels a network has. Training changes neither."""

    network: str
    """Identifier of the network before all pruning."""
    kept: dict[str, torch.Tensor]
    """Sorted indices of its channels by channel group, int64."""

    @classmethod
    def new(cls, plan: Mapping[str, int]) -> "Origin":
        """The origin of a new network, which has all its channels."""
        return cls(secrets.token_hex(16), all_channels(plan))

    @classmethod
    def of_file(cls, stored: Mapping | None, state: Mapping[str, torch.Tensor], plan: Mapping[str, int]) -> "Origin":
        """The origin of a checkpoint's network. Raises `UserError` if it does not fit the channel plan.

        stored: the checkpoint's entry; None where it has none. Then the network counts as not pruned, and its
        identifier is a digest of its BatchNorms' running variances.
        """
        if stored is None:
            variances = (state[f"{layer.norm}.running_var"].float() for layer in LAYERS if layer.norm)
            return cls(hashlib.sha256(torch.cat(list(variances)).numpy().tobytes()).hexdigest(), all_channels(plan))
        try:
            origin = cls(stored["network"], {group: stored["kept"][group] for group in plan})
            fits = isinstance(origin.network, str) and all(
                channels.dtype == torch.int64
                and channels.shape == (plan[group],)
                and 0 <= channels.min() <= channels.max() < ORIGINAL_PLAN[group]
                and bool((channels.diff() > 0).all())
                for group, channels in origin.kept.items()
            )
        except (AttributeError, KeyError, TypeError):
            fits = False
        if not fits:
            raise UserError("its channels' origin does not fit its channel plan")
        return origin

    def after(self, kept: Mapping[str, torch.Tensor]) -> "Origin":
        """The origin after a further pruning; kept: sorted indices among the present channels, by group."""
        return self._replace(kept={group: self.kept[group][channels] for group, channels in kept.items()})

    def within(self, other: "Origin") -> dict[str, torch.Tensor] | None:
        """The indices of these channels in another network of the same origin; None if it does not have all of them."""
        if self.network != other.network:
            return None
        if not all(torch.isin(channels, other.kept[group]).all() for group, channels in self.kept.items()):
            return None
        return {group: torch.searchsorted(other.kept[group], channels) for group, channels in self.kept.items()}
