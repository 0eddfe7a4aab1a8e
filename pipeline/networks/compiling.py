"""Compiling the network: the same code in every process of equal machines, and plain words where it cannot be."""

import os
import shutil

import torch
from torch import nn

from pipeline.errors import ConfigError


def compile_network(network: nn.Module, device: torch.device, *, trains: bool = False) -> None:
    """Makes `network(...)` run compiled from its first call on, which takes a minute.

    Nothing is chosen by timing, where torch can be told so: a choice may round otherwise after a restart.

    Args:
        network: Changed in place; names and values of its weights stay.
        device: Where it runs.
        trains: Whether its weights will change.

    Raises:
        ConfigError: There is no compiler on this machine. Running uncompiled instead would make other bytes, and unasked.
    """
    import torch._inductor.config as inductor  # half a second that plain jobs need not wait for

    if missing := missing_compiler(device.type):
        raise ConfigError(f"compiled: got no compiler ({missing}) on this machine; install one, or do without compiling")
    if device.type == "cpu" and not trains:
        # Weights become constants in the layout that convolutions want; as it is looked at while tracing, no option will do.
        inductor.freezing = True
    elif trains:
        inductor.freezing = False  # of a network that this process compiled before
    network.compile(dynamic=False, options={"deterministic": True} if hasattr(inductor, "deterministic") else None)


def missing_compiler(device: str) -> str | None:
    """Returns the names of the compilers one of which this machine should have and has not; None where there is one.

    Args:
        device: Kind of device that the network is compiled for, "cpu" or "cuda".
    """
    import torch._inductor.config as inductor  # as above

    # C++ for kernels; on CUDA, C for what launches them.
    names = [name for name in (inductor.cpp.cxx if device == "cpu" else (os.environ.get("CC"), "gcc", "clang")) if name]
    if any(shutil.which(name) for name in names):
        return None
    return " or ".join(names) or "CXX is set to nothing"


def compiler_trouble(error: Exception) -> ConfigError | None:
    """Returns what failed in compiling, in one line; None for an error that comes from elsewhere, as from a full disk."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError | MemoryError | torch.OutOfMemoryError) and not isinstance(cause, FileNotFoundError):
            return None
        cause = getattr(cause, "inner_exception", None) or cause.__cause__
    if not type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
        return None
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = next((line for line in said if "error:" in line), said[0] if said else type(error).__name__)
    return ConfigError(f"compiled: got an error from the compiler, expected a network that it knows: {telling[:300]}")
