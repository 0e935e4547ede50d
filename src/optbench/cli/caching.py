"""cache: what was worked out once and is kept on disk."""

from __future__ import annotations

from typing import Annotated

import typer

from optbench.cli.common import Json, print_json, print_lines


def cache(
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND]...", help="Only these; default: all.", show_default=False)
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Remove them.")] = False,
    as_json: Json = False,
) -> None:
    """Show where the cache is and how large, or empty it.

    All in it is made again when it is needed: decoded pictures, compiled steps, composed commands. The folder is
    $OPTBENCH_CACHE, else optbench in the user's cache folder.

    Examples:

      optbench cache

      optbench cache pictures --empty
    """
    from optbench import shelf
    from optbench.errors import UserError
    from optbench.folders import cache_folder
    from optbench.settings import did_you_mean

    for kind in kinds or ():
        if kind not in shelf.KINDS:
            near = did_you_mean(kind, shelf.KINDS)
            raise UserError(f"{kind}: the cache has no such kind (kinds: {', '.join(shelf.KINDS)})", near)
    held = [one for one in shelf.held() if not kinds or one.kind in kinds]
    if empty:
        shelf.empty([one.kind for one in held])
    total = sum(one.bytes for one in held)
    if as_json:
        print_json({"folder": cache_folder(), "bytes": total, "emptied": empty,
                    "kinds": [vars(one) for one in held]})  # fmt: skip
        return
    lines = [f"{_size(one.bytes):>9}  {one.files:>6} files  {one.kind:<9}  {shelf.KINDS[one.kind]}" for one in held]
    print_lines([f"{'removed from' if empty else 'cache'} {cache_folder()}: {_size(total)}", *lines])


def _size(size: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
