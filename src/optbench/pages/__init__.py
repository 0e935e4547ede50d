"""A comparison as a page: one file of HTML that opens from disk without a network, in light and dark, on a phone, in
print, by keyboard, and in English or Chinese; and the same page served while a sweep runs.

    document   a Comparison and its curves as plain data: everything that the page says, computed once
    tables     its tables: configurations with scores, what differs, what did not end well
    figures    its figures over runs, targets, problems and settings, or why there is none
    curves     learning curves and curvature along training
    surface    paths over the contours of a surface, with its critical points
    networks   confusion matrices and worst examples, of kept predictions or of networks that are asked
    words      what the page says, in the language that is meant
    embed      the data, the drawing library and our script in one file, under a policy that runs nothing else
    serve      the page on 127.0.0.1, made anew as records change

The page is another rendering of what `comparison` and `report` have: no number is computed here that they do not have.
What comes from files is data and never markup: it is embedded as JSON in which no sign of HTML is left, and the script
(`page.js`) writes it as text. Lines are drawn by uPlot (`vendor/`, MIT); page.html, page.css and page.js have no
build step.
"""

from optbench.pages.document import Asked, document
from optbench.pages.embed import page
from optbench.pages.networks import Example, Looked, Networks
from optbench.pages.surface import Ground, Spot

__all__ = ["Asked", "Example", "Ground", "Looked", "Networks", "Spot", "document", "page"]
