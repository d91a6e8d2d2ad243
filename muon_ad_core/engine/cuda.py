# SPDX-License-Identifier: Apache-2.0
"""The few calls of NVIDIA's driver library that running an engine needs, by ctypes: nothing to install beside it."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from muon_ad_core.errors import EngineError

LIBRARY = "libcuda.so.1"
_NAME_LENGTH = 256


def device_count() -> int:
    """GPUs that the driver offers; 0 without a driver."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return 0
    count = ctypes.c_int()
    if library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


class Cuda:
    """The first GPU with its primary context, which CUDA's runtime and TensorRT share. For one thread at a time."""

    def __init__(self) -> None:
        """Raises EngineError without a driver or a GPU."""
        if not device_count():
            raise EngineError("there is no NVIDIA GPU with a driver on this machine: choose another backend")
        self._library = ctypes.CDLL(LIBRARY)
        device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        name = ctypes.create_string_buffer(_NAME_LENGTH)
        self._call("cuDeviceGetName", name, _NAME_LENGTH, device)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("cuDeviceComputeCapability", ctypes.byref(major), ctypes.byref(minor), device)
        self.device = f"{name.value.decode(errors='replace')} ({major.value}.{minor.value})"
        """Name and compute capability."""
        self._context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self.use()

    def use(self) -> None:
        """Make the context that of the calling thread."""
        self._call("cuCtxSetCurrent", self._context)

    def stream(self, urgent: bool) -> int:
        """A new stream, of the highest priority or of the lowest."""
        least, greatest = ctypes.c_int(), ctypes.c_int()
        self._call("cuCtxGetStreamPriorityRange", ctypes.byref(least), ctypes.byref(greatest))
        handle = ctypes.c_void_p()
        not_blocking = 1
        self._call("cuStreamCreateWithPriority", ctypes.byref(handle), not_blocking, greatest if urgent else least)
        return int(handle.value or 0)

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back."""
        self._call("cuStreamDestroy_v2", ctypes.c_void_p(stream))

    def synchronise(self, stream: int) -> None:
        """Wait for everything in a stream."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def allocate(self, size: int) -> int:
        """Address of `size` bytes on the GPU."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        """Give memory of the GPU back."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def upload(self, array: np.ndarray, address: int, stream: int) -> None:
        """Copy a contiguous array to the GPU; it must stay until the stream has been waited for."""
        size = ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), _pointer(array), size, ctypes.c_void_p(stream))

    def download(self, address: int, array: np.ndarray, stream: int) -> None:
        """Copy from the GPU into a contiguous array."""
        size = ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyDtoHAsync_v2", _pointer(array), ctypes.c_uint64(address), size, ctypes.c_void_p(stream))

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            raise EngineError(
                f"the GPU refuses {function} (CUDA error {code}): free its memory, or restart the machine"
            )


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
