"""The loss of a trained network at its weights: critical or not, minimum or saddle, and how surely that is known.

objective   the loss over a data set as a function of one flat vector
hvp         Hessian-vector products
lanczos     both ends of the spectrum, with error bounds
spectrum    shares of negative, zero and positive eigenvalues
newton      how much the loss would still fall
descent     ways down: along negative curvature, or found on spheres
series      Taylor series of intervals (windows, operands, interval_rules: torch's operations on them)
enclosure   a loss along a line, in intervals
proof       what they prove: no local minimum, a lower point
verdict     the rules
inspect     all of it at one point: `inspect_network`
describe    in words
"""

from optbench.curvature.inspect import Inspection, inspect_network, prepare
from optbench.curvature.objective import FlatObjective, network_objective
from optbench.curvature.picture import NetworkPicture, Plan

__all__ = ["FlatObjective", "Inspection", "NetworkPicture", "Plan", "inspect_network", "network_objective", "prepare"]
