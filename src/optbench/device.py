"""Where a run computes: device, threads, and the allocator of glibc.

On a CPU, a network's activations are tensors of tens of megabytes; glibc takes each from the system and gives it back,
which costs a page fault every 4 KB. Telling malloc to keep them made HW3's training step 1.45 times as fast on the
machine where it was measured (and its peak memory 1.6 times as large).
"""

from __future__ import annotations

import ctypes
import platform

import torch

from optbench.errors import UserError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def pick_device(name: str) -> torch.device:
    """The device by name; "auto" is CUDA where there is one. Raises UserError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros((), device=device).item()  # a device may be known by name and not be there
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"trainer.device={name}: not a device that this torch ({torch.__version__}) can use",
            "use auto, cpu, cuda or cuda:0",
        ) from error
    return device


def name_of(device: torch.device) -> str | None:
    """What a GPU is called; None for a CPU, whose name is the processor's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def give_back_freed_memory() -> None:
    """Gives what malloc keeps of freed memory back to the system, so that resident memory is what is in use (glibc)."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> bool:
    """Tells glibc's malloc to keep freed memory and take large blocks from its heap. True where it applied."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 256 << 20))
    return all(libc.mallopt(option, value) == 1 for option, value in settings)
