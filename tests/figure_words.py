"""What a figure still says in English while it is drawn in Chinese."""

from __future__ import annotations

import re

from matplotlib.figure import Figure

from optbench.catalogue import catalogue
from optbench.plot import translate

TYPED = {entry.name for entry in catalogue()} | {"x0", "x1", "w1", "w2"}
METHODS = {"AdaGrad", "RMSProp", "Adam", "RAdam"}
"""Names that are the same in both languages."""


def english(figure: Figure) -> list[str]:
    """Texts of a figure that are neither Chinese, nor what somebody typed (a setting such as optimizer.lr too), nor
    the name of a method."""
    words = [text.get_text() for text in translate.worded(figure)]
    plain = [w for w in words if not re.search(r"[\u4e00-\u9fff]", w) and not re.fullmatch(r"\w+(?:\.\w+)+", w)]
    return [w for w in plain if re.split("[ ,]", w)[0] not in TYPED and re.sub("，α = .*", "", w) not in METHODS]
