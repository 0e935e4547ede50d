"""torchvision beside a CPU build of torch: import it from here, never directly.

torchvision's wheels carry compiled operators (`torchvision/_C.so`) built against the CUDA build of torch. Beside a
CPU-only torch that library cannot load; torchvision then goes on without it, but its Python modules register meta
kernels for `torchvision::nms` and, since 0.29, `torchvision::qnms` at import, which raises
`RuntimeError: operator torchvision::nms does not exist`. Declaring the schemas of the missing operators before the
import is enough: transforms, data sets, models and JPEG reading through Pillow are pure Python and work. The
operators themselves stay without a kernel, so calling one (detection models only) still raises, as it should.

Example:
    >>> from optbench.vision import torchvision
    >>> torchvision.models.resnet18(weights=None).fc.out_features
    1000
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator

import torch
from torch._compile import _disable_dynamo

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_libraries: list[torch.library.Library] = []  # a Library undoes its definitions when collected: keep them alive


def _compiled_operators_load() -> bool:
    """Whether torchvision's own compiled library can be loaded beside this torch."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    for library in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(library))
        except (OSError, RuntimeError):
            return False
        return True
    return False


def _declare_missing() -> tuple[str, ...]:
    """Declares the operators that torchvision expects and that nothing defined; returns their names."""
    if _compiled_operators_load():
        return ()
    missing = []
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
            missing.append(name)
    _libraries.append(library)
    return tuple(missing)


declared_operators: tuple[str, ...] = _declare_missing()
"""Names of the operators declared here because the compiled ones did not load; empty on a matching build."""


_COMPILER = "torch._dynamo.utils"


def _is_compile_supported(device_type: str) -> bool:
    """What torchvision asks torch's compiler, which is imported when it is asked."""
    from torch._dynamo import utils

    return bool(utils.is_compile_supported(device_type))


@contextlib.contextmanager
def without_compiler() -> Iterator[None]:
    """Within it parts of torchvision are imported without torch's compiler, which takes longer to import than torch.

    Two lines of torchvision would import it: one names a function for roi_align, which only detection models use, the
    other keeps the compiler away from a function of transforms, for which torch has a form that waits for the call.
    """
    if "torch._dynamo" in sys.modules:
        yield
        return
    stand_in = types.ModuleType(_COMPILER)
    stand_in.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules[_COMPILER] = stand_in
    disable, torch.compiler.disable = torch.compiler.disable, _disable_dynamo  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(_COMPILER) is stand_in:
            del sys.modules[_COMPILER]


with without_compiler():
    import torchvision

__all__ = ["declared_operators", "torchvision", "without_compiler"]
