"""Names, reasons and columns that someone may have put into records to make a page obey them."""

from __future__ import annotations

import itertools

_CALLS = ("window.pwned=1", "alert(1)", "document.title='pwned'")
_FORMS = (
    "<script>{}</script>", "</script><script>{}</script>", "<!--<script>{}//-->", "--><script>{}</script>",
    "<img src=x onerror={}>", '"><svg onload={}>', "'><body onload={}>", "javascript:{}", "<a href=javascript:{}>x</a>",
    "</title><script>{}</script>", "</style><script>{}</script>", "<iframe srcdoc='<script>{}</script>'>",
    "]]><script>{}</script>", "\u2028{}//", "\u2029;{}", "`${{{}}}`", "\\u003cscript>{}</script>", "&lt;script&gt;{}",
    "{{{{{}}}}}", "<math><mtext></p><style><img onerror={} src=x>", "<details open ontoggle={}>",
    "<input autofocus onfocus={}>", "x' onmouseover='{}", 'x" style="animation-name:x" onanimationstart="{}',
    "{{script}}{}",
)  # fmt: skip
_AROUND = ("{}", "\u202e{}\u202c", "\x1b[31m{}\x1b[0m", "\u2066{}\u2069", "a\x00{}", "{}\r\n", "\ufeff{}\u200b")


def hostile_names(count: int) -> list[str]:
    """So many different ones: markup, event handlers, addresses, separators, signs that turn text, of terminals too."""
    made = (
        f"{around.format(form.format(call))} {i}"
        for i, (around, form, call) in enumerate(itertools.cycle(itertools.product(_AROUND, _FORMS, _CALLS)))
    )
    return list(itertools.islice(made, count))
