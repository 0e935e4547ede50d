"""The loss of a trained network at its weights: critical or not, minimum or saddle, and how surely that is known.

When a training curve has gone flat, three things may be the case. The gradient is still large and the steps bounce; it
is small at a saddle, and there is a way down; or it is small at a minimum. The Hessian H tells, but a network of a
million weights has a million times a million second derivatives. What can be had is the product H v with any one vector
v, for the price of one or two gradients. From such products alone Lanczos's method finds both ends of the spectrum with
bounds on their errors; random vectors give the share of negative, zero and positive eigenvalues, with bounds; and an
eigenvector of a negative eigenvalue is a direction in which the loss goes down, which is then walked and measured. One
thing is even proved: with the loss along that direction enclosed by interval arithmetic over all the data, a v'Hv below
0 excludes a local minimum.

    prepare(network_objective(...)).look()    all of it at one point, the cost told before it is spent: NetworkPicture
    optbench curvature RUN                    from the command line; `classify-critical --run RUN` is the same

In reading order:

    objective       the loss over a data set as a function of one flat vector, in chunks
    hvp             Hessian-vector products, as cheaply as memory allows
    lanczos         both ends of the spectrum, with error bounds and the probability of what was missed
    spectrum        shares of negative, zero and positive eigenvalues, exact or bounded
    measure         a spectrum, by whichever of both ways fits
    newton          how much the loss would still fall: what "critical" means for a network
    descent         ways down: along negative curvature, or found on spheres
    windows         which patches of a picture are equal, so that their maximum has no kink
    series          Taylor series of intervals: what activations are along a line
    operands        operations that only move numbers about
    interval_rules  the table: torch's operations on such series
    enclosure       the loss along a line, enclosed with two derivatives
    proof           what that proves: no local minimum, a lower point
    verdict         from figures to words, the first rule that holds
    picture         the result as plain values
    inspect         all of it: prepare, look
    describe        the result in words
    along           both ends of the spectrum during training (`trainer.curvature_every`)

What to trust: `proved` rests on outward rounding (`critical.arithmetic.ends`) and is about the loss as a function of
real numbers, over the examples that were used, in evaluation mode. `shown` rests on a saved vector or the exact
Hessian, beyond rounding noise. A bound on an eigenvalue says that one is near; that none lies beyond is known with a
probability, which is printed. That every direction curves up is never proved here. A zero eigenvalue is a class,
|lambda| <= tau, and tau is said.

Sources: C. Lanczos, 1950; B. N. Parlett, The Symmetric Eigenvalue Problem, 1998; J. Kuczynski & H. Wozniakowski, SIAM
J. Matrix Anal. Appl. 13 (1992) 1094; G. Szego, Orthogonal Polynomials, section 3.41; Hung-yi Lee, Machine Learning
2022, lecture 3.
"""

from optbench.curvature.inspect import Inspection, prepare
from optbench.curvature.objective import FlatObjective, network_objective
from optbench.curvature.picture import NetworkPicture, Plan

__all__ = ["FlatObjective", "Inspection", "NetworkPicture", "Plan", "network_objective", "prepare"]
