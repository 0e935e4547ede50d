"""Shell completion of overrides, by Hydra's own completion engine, and of group names."""

from __future__ import annotations

import typer


def complete_override(ctx: typer.Context, incomplete: str) -> list[str]:
    """Continuations of the override at the cursor.

    bash splits words at `=` and replaces only what follows it, while zsh and fish keep whole words: what stands before
    the cursor's word is put back in front of the question and taken off the answers.
    """
    words = list(ctx.params.get("overrides") or ())
    prefix = ""
    if len(words) > 1 and words[-1] == "=":
        prefix = words[-2] + "="
    elif words and not incomplete and not any(c in words[-1] for c in "=~"):
        prefix = words[-1] + "="  # the shell ate the `=`
    try:
        from optbench.config import complete

        found = complete(prefix + incomplete, ctx.params.get("config_dir") or ())
    except Exception:  # a completion that fails must not write over the prompt
        return []
    return [f[len(prefix) :] for f in found]


def complete_group(incomplete: str) -> list[str]:
    """Groups that begin so."""
    from optbench.catalogue import LISTED

    return [g for g in LISTED if g.startswith(incomplete)]
