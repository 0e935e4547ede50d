"""One file of HTML: the data, the drawing library and our script, under a policy that runs nothing else.

What a file of the user's may hold ends up in two places: in the JSON, of which `embedded` leaves no sign that HTML
would obey, and in the title, which is escaped. The policy allows the two scripts by their hashes, no address to load
from, and no text to become markup (trusted types), so that a mistake of ours would execute nothing either.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIBRARY = HERE / "vendor" / "uPlot-1.6.32.iife.min.js"
LIBRARY_STYLE = HERE / "vendor" / "uPlot-1.6.32.min.css"
_GAP = re.compile(r"\{\{(\w+)\}\}")
_MARKUP = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&'\u2028\u2029"}


def embedded(value: Any) -> str:
    """Strict JSON that can stand in an element of HTML: no sign of markup is in it, and a parser of JSON reads `value`.

    Raises:
        ValueError: a number that is not finite.
    """
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return plain.translate(_MARKUP).encode("utf-8", "backslashreplace").decode()


def page(document: Mapping[str, Any], live: str = "") -> str:
    """The page of a document.

    Args:
        document: as `document.document` gives it.
        live: address to ask for newer documents; empty: none, the page asks for nothing.
    """
    style = (HERE / "page.css").read_text(encoding="utf-8") + LIBRARY_STYLE.read_text(encoding="utf-8")
    library = LIBRARY.read_text(encoding="utf-8")
    script = (HERE / "page.js").read_text(encoding="utf-8")
    parts = {
        "language": "zh-CN" if document.get("language") == "zh" else "en",
        "policy": policy([library, script], style, live),
        "title": html.escape(f"{document.get('title', '')} · optbench"),
        "style": style,
        "library": library,
        "script": script,
        "data": embedded({**document, "live": live}),
        "noscript": html.escape(" ".join(document.get("verdicts", ()))),
        "needs": html.escape(document.get("needs", "")),
    }
    return filled((HERE / "page.html").read_text(encoding="utf-8"), parts)


def filled(template: str, parts: Mapping[str, str]) -> str:
    """A template with its gaps {{name}} filled, in one pass: what a part holds is no gap."""
    return _GAP.sub(lambda gap: parts[gap[1]], template)


def policy(scripts: list[str], style: str, live: str = "", workers: bool = False) -> str:
    """The Content-Security-Policy of a page: what may run, by hash, and nothing else.

    Args:
        scripts: the texts of its script elements, as they stand there.
        style: that of its style element.
        live: an address that it may ask; empty: none.
        workers: whether the scripts make workers of their own text. Trusted types, which would refuse that, are then
            not asked for.
    """
    allowed = " ".join(map(_hash, scripts))
    strict = ["worker-src blob:"] if workers else ["require-trusted-types-for 'script'", "trusted-types 'none'"]
    return "; ".join([
        "default-src 'none'", f"script-src {allowed}", f"style-src {_hash(style)}", "img-src data:",
        f"connect-src {chr(39)}self{chr(39)}" if live else "connect-src 'none'", "base-uri 'none'",
        "form-action 'none'", *strict,
    ])  # fmt: skip


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
    return f"'sha256-{digest}'"
