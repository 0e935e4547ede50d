"""torch's NAdam, with checkpoints that continue to the bit in double precision.

NAdam keeps the running product of its momentum coefficients in single precision, whatever the parameters are.
`load_state_dict` turns every state tensor but `step` into the dtype of its parameter, so with float64 parameters the
product is carried on in double precision after a restart, and the run is no longer the one that was interrupted.
"""

from __future__ import annotations

import torch
from torch.optim import NAdam as TorchNAdam
from torch.optim.optimizer import StateDict


class NAdam(TorchNAdam):
    """torch.optim.NAdam whose `mu_product` keeps its own dtype through `load_state_dict`."""

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Loads a state; see torch.optim.Optimizer.load_state_dict."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            if "mu_product" in state:  # not before the parameter's first gradient
                # torch makes both scalars with one dtype, and leaves the dtype of `step` alone when it loads
                state["mu_product"] = torch.as_tensor(state["mu_product"]).to(state["step"].dtype)
