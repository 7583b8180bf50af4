"""The pruned network: the graph of `model.FOTSModel` at the widths of a channel plan.

model = FOTSModelPruned(uniform_plan(0.5))       # utils.network.channels: plans and channel groups
"""

from collections.abc import Mapping

from model import FOTSModel


class FOTSModelPruned(FOTSModel):
    """The detection network at the widths of a plan: channels by channel group, see `utils.network.channels`.

    Raises `UserError` for a plan that does not fit the network.
    """

    def __init__(self, plan: Mapping[str, int]):
        super().__init__(plan=plan)
