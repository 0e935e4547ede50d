"""Overrides to a resolved configuration, and a configuration to objects. The only package that knows Hydra.

Composition goes in two moves. Whatever decides the *shape* (group choices, +additions, ~deletions) is composed by
Hydra once and kept as a template; plain values are then set on a copy, each checked against the type of the value that
it replaces. So `optimizer.lr=fast` and `optimizer.lrr=1` are named before anything heavy is imported, and a sweep over
numbers costs a tenth of composing every run by itself.

A configuration read back from a run folder is data. It is built only after every `_target_` in it was found in the
trusted tree: the packaged conf/ and the folders given with --config-dir.
"""

from optbench.catalogue import GROUPS
from optbench.config.build import build, build_optimizer, build_scheduler, check_targets, trusted_targets
from optbench.config.compose import Composed, Composer, Job, complete

__all__ = [
    "GROUPS",
    "Composed",
    "Composer",
    "Job",
    "build",
    "build_optimizer",
    "build_scheduler",
    "check_targets",
    "complete",
    "trusted_targets",
]
