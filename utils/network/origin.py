"""Where a pruned network's channels come from, so that it can be compared with the network that it was pruned from."""

import hashlib
import secrets
from collections.abc import Mapping
from typing import NamedTuple

import torch

from utils.errors import UserError
from utils.network.channels import LAYERS, ORIGINAL_PLAN, all_channels


class Origin(NamedTuple):
    """The network before all pruning, and which of its channels a network has; training changes neither."""

    network: str
    """What tells that network from others of its kind."""
    kept: dict[str, torch.Tensor]
    """Sorted indices by channel group, int64."""

    @classmethod
    def new(cls, plan: Mapping[str, int]) -> "Origin":
        """Of a network that begins here."""
        return cls(secrets.token_hex(16), all_channels(plan))

    @classmethod
    def of_file(cls, stored: Mapping | None, state: Mapping[str, torch.Tensor], plan: Mapping[str, int]) -> "Origin":
        """Of a checkpoint's network. Raises `UserError` if what is stored does not fit the plan.

        stored: what the file says of it. None where it says nothing: it is taken for a network of its own, told from
        others by its BatchNorms.
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
        """Of what a further pruning leaves; kept: among the channels that are here now."""
        return self._replace(kept={group: self.kept[group][channels] for group, channels in kept.items()})

    def within(self, other: "Origin") -> dict[str, torch.Tensor] | None:
        """Where these channels stand in another network of the same origin; None if it has not all of them."""
        if self.network != other.network:
            return None
        if not all(torch.isin(channels, other.kept[group]).all() for group, channels in self.kept.items()):
            return None
        return {group: torch.searchsorted(other.kept[group], channels) for group, channels in self.kept.items()}
