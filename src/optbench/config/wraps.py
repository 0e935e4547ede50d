"""What is put around an optimizer: the node `wrap` of a configuration, from the choices of a group of several.

    wrap=sam                    one
    'wrap=[clip,lookahead]'     several, the first innermost

Each choice has a YAML whose first line is `# @package wrap.NAME`, so that Hydra puts several side by side and
`wrap.lookahead.k=6` sets a keyword of one. A YAML that sets other things (`# @package _global_`) is a short word for
these, and is nothing around the optimizer. Where there is nothing, the configuration has no node `wrap`, as it had none
before there were wrappers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optbench.errors import ConfigError
from optbench.protocol import ORDER
from optbench.settings import shown

GROUP = "wrap"


def settle(plain: dict[str, Any]) -> None:
    """Brings a composed configuration to the one form in which it is recorded: `wrap` has a node for each wrapper, and
    with several an order; `choices.wrap` is their names with + between; where there are none, neither is there.

    Args:
        plain: the configuration, with its choices.

    Raises:
        ConfigError: a YAML that is no wrapper's.
    """
    node, chosen = plain.pop(GROUP, None) or {}, plain["choices"].pop(GROUP, None)
    if node.get("_target_") is not None:
        where = f"'# @package wrap.{str(chosen or 'NAME').rpartition('/')[2]}'"
        raise ConfigError(f"wrap={chosen}: its YAML does not say where it goes", f"its first line is {where}")
    nodes = {name: one for name, one in node.items() if name != "_target_"}
    for name, one in nodes.items():
        if name == ORDER or not isinstance(one, Mapping) or not one.get("_target_"):
            raise ConfigError(f"wrap.{name}={shown(one)}: expected a node with _target_", f"choose it: wrap={name}")
    if nodes:
        plain[GROUP] = {**nodes, **({ORDER: list(nodes)} if len(nodes) > 1 else {})}
        plain["choices"][GROUP] = "+".join(nodes)


def check_names(names: Sequence[Any], line: str) -> None:
    """Raises ConfigError where a list of choices is not one of names, or has one twice, which Hydra takes for one."""
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{line}: expected names, such as wrap=[clip,lookahead]")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{line}: {twice} stands there twice; each goes around the optimizer once")
