"""The loss of networks on lines and planes through their weights, and on lines between points of a surface.

A network has too many weights for a map of its loss, but its loss on a line or a plane is a curve or a map. Between the
checkpoints of two runs the line says whether both lie in one valley: the height of the barrier (Frankle et al. 2020;
Entezari et al. 2022). A plane is spanned by two random directions, each filter as long as the network's own (Li et al.
2018), goes through three checkpoints (Garipov et al. 2018), or has the directions in which the training moved most; the
training path is projected onto it, and how much of the path that shows is a number.

    objective   the loss and the accuracy of a network at any weights, batch norm's statistics made for these
    directions  random and filter-normalised, through three points, principal components of a path
    line        a straight line between two points, and the barrier on it
    plane       a plane, what is on it, and a path's shadow on it
    runs        the lines and planes of recorded runs
"""

from optbench.slices.line import Barrier, Line, barrier, walk
from optbench.slices.objective import NetworkLoss
from optbench.slices.plane import Path, Plane, survey
from optbench.slices.runs import between, on_plane

__all__ = ["Barrier", "Line", "NetworkLoss", "Path", "Plane", "barrier", "between", "on_plane", "survey", "walk"]
