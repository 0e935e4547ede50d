"""Figures of records: loss curves, paths on a landscape, critical points, confusion matrices.

Functions take records and plain arrays and return a matplotlib Figure; nothing is shown, no global state is touched,
and the same data gives the same file. Colours stay apart for colour-blind readers (Okabe and Ito 2008).
"""

from optbench.plot import _quiet as _quiet  # first of all
from optbench.plot.axes import Asked, parse_axis, set_axes
from optbench.plot.bands import band_curves
from optbench.plot.basins import Panel, basins_figure
from optbench.plot.confusion import confusion
from optbench.plot.curvature import curvature_curves
from optbench.plot.curves import loss_curves
from optbench.plot.facets import path_facets
from optbench.plot.film import FILMS, Race, check_film, save_race
from optbench.plot.landscape import Landscape, Mark, critical_points_figure, path_on_contours
from optbench.plot.over_problems import best_of_figure, ecdf_figure, profile_figure, ranks_figure
from optbench.plot.pictures import features_figure, saliency_figure, worst_pictures
from optbench.plot.relief import path_on_relief
from optbench.plot.response import response_figure
from optbench.plot.sensitivity import Outcome, Scale, heat_figure, sensitivity_figure
from optbench.plot.slices import line_figure, plane_figure
from optbench.plot.spectrum import spectral_density
from optbench.plot.style import PALETTE, SUFFIXES, check_suffix, entitle, footnote, new_figure, parse_size, resize, save
from optbench.plot.translate import chinese_font

__all__ = [
    "FILMS",
    "PALETTE",
    "SUFFIXES",
    "Asked",
    "Landscape",
    "Mark",
    "Outcome",
    "Panel",
    "Race",
    "Scale",
    "band_curves",
    "basins_figure",
    "best_of_figure",
    "check_film",
    "check_suffix",
    "chinese_font",
    "confusion",
    "critical_points_figure",
    "curvature_curves",
    "ecdf_figure",
    "entitle",
    "features_figure",
    "footnote",
    "heat_figure",
    "line_figure",
    "loss_curves",
    "new_figure",
    "parse_axis",
    "parse_size",
    "path_facets",
    "path_on_contours",
    "path_on_relief",
    "plane_figure",
    "profile_figure",
    "ranks_figure",
    "resize",
    "response_figure",
    "saliency_figure",
    "save",
    "save_race",
    "sensitivity_figure",
    "set_axes",
    "spectral_density",
    "worst_pictures",
]
