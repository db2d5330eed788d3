"""Kernels compiled from their OpenCL C text and run on PoCL, or on whatever device HEADRACE_OPENCL_PLATFORM names.

In: kernels as loops, arrays.  Out: their outputs.  libOpenCL is opened at run time, so that tests can skip where there
is none; `python opencl_device.py KERNELS.hir ...` runs kernels on random inputs, for checkers that watch a process.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from headrace.codegen.clike import emit_opencl, group_size, kernel_name
from headrace.codegen.scratch import scratch_bytes
from headrace.ir.bind import bind
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.tasks import task_count
from headrace.ir.text import parse_module
from headrace.ir.types import BufferType

Array = np.ndarray[Any, Any]
PLATFORM = os.environ.get("HEADRACE_OPENCL_PLATFORM", "Portable Computing Language")
ALL_DEVICES, PLATFORM_NAME, BUILD_LOG = 0xFFFFFFFF, 0x0902, 0x1183
READ_WRITE, COPY_HOST = 1, 1 << 5
START = 256  # where a buffer begins in its memory object: kernels must add it


class Missing(Exception):
    """There is no such device here, and why."""


class OpenCL:
    """The first device of one platform."""

    def __init__(self, platform: str = PLATFORM) -> None:
        os.environ.setdefault("POCL_CACHE_DIR", tempfile.mkdtemp(prefix="pocl-"))
        try:
            self.library = ctypes.CDLL(None)  # what a checker preloads
            if not hasattr(self.library, "clGetPlatformIDs"):
                self.library = ctypes.CDLL("libOpenCL.so.1")
        except OSError as problem:
            raise Missing(str(problem)) from None
        for name in (
            "clCreateContext",
            "clCreateCommandQueue",
            "clCreateProgramWithSource",
            "clCreateKernel",
            "clCreateBuffer",
        ):
            getattr(self.library, name).restype = c_void_p
        self.device = self._device(platform)
        error = c_int()
        devices = (c_void_p * 1)(self.device)
        self.context = c_void_p(self.library.clCreateContext(None, 1, devices, None, None, byref(error)))
        self._check(error.value, "clCreateContext")
        create = self.library.clCreateCommandQueue
        self.queue = c_void_p(create(self.context, self.device, c_uint64(0), byref(error)))
        self._check(error.value, "clCreateCommandQueue")

    def _device(self, wanted: str) -> c_void_p:
        count = c_uint()
        if self.library.clGetPlatformIDs(0, None, byref(count)) or not count.value:
            raise Missing("OpenCL has no platform")
        platforms = (c_void_p * count.value)()
        self._check(self.library.clGetPlatformIDs(count, platforms, None), "clGetPlatformIDs")
        names = []
        for platform in platforms:
            text = ctypes.create_string_buffer(256)
            self._check(
                self.library.clGetPlatformInfo(c_void_p(platform), PLATFORM_NAME, c_size_t(256), text, None), "info"
            )
            names.append(text.value.decode())
            device = (c_void_p * 1)()
            if wanted in names[-1]:
                found = self.library.clGetDeviceIDs(c_void_p(platform), c_uint64(ALL_DEVICES), 1, device, None)
                self._check(found, "clGetDeviceIDs")
                return c_void_p(device[0])
        raise Missing(f"OpenCL has the platforms {', '.join(names)}, none of them {wanted}")

    @staticmethod
    def _check(code: int, what: str) -> None:
        assert code == 0, f"{what} gave {code}"

    def build(self, functions: Sequence[KernelFunc]) -> Built:
        """A program, or the compiler's log as a failure."""
        text = emit_opencl(functions)
        error, source = c_int(), (c_char_p * 1)(text.encode())
        create = self.library.clCreateProgramWithSource
        program = c_void_p(create(self.context, 1, source, None, byref(error)))
        self._check(error.value, "clCreateProgramWithSource")
        devices = (c_void_p * 1)(self.device)
        options = b"-cl-std=CL1.2 -Werror -cl-fp32-correctly-rounded-divide-sqrt"
        if self.library.clBuildProgram(program, 1, devices, options, None, None):
            log = ctypes.create_string_buffer(1 << 16)
            self.library.clGetProgramBuildInfo(program, self.device, BUILD_LOG, c_size_t(1 << 16), log, None)
            raise AssertionError(f"{log.value.decode(errors='replace')}\n{text}")
        return Built(self, program, functions)

    def memory(self, content: Array) -> c_void_p:
        """A memory object with these bytes."""
        error, size = c_int(), max(content.nbytes, 1)
        flags = c_uint64(READ_WRITE | (COPY_HOST if content.nbytes else 0))
        data = content.ctypes.data_as(c_void_p) if content.nbytes else None
        memory = c_void_p(self.library.clCreateBuffer(self.context, flags, c_size_t(size), data, byref(error)))
        self._check(error.value, "clCreateBuffer")
        return memory

    def read(self, memory: c_void_p, size: int) -> Array:
        """Its bytes, when all that was launched is done."""
        out = np.empty(size, np.uint8)
        if size:
            data = out.ctypes.data_as(c_void_p)
            done = self.library.clEnqueueReadBuffer(
                self.queue, memory, 1, c_size_t(0), c_size_t(size), data, 0, None, None
            )
            self._check(done, "clEnqueueReadBuffer")
        return out


class Failed(Exception):
    """A kernel.check did not hold: its site and values."""


class Built:
    """Kernels of one program."""

    def __init__(self, device: OpenCL, program: c_void_p, functions: Sequence[KernelFunc]) -> None:
        self.device, self.program = device, program
        self.functions = {f.function_name: f for f in functions}

    def run(self, name: str, inputs: Sequence[Array], symbols: Mapping[str, int] | None = None) -> list[Array]:
        """The outputs; bytes that nobody wrote are 0xA5."""
        function = self.functions[name]
        shaped = [(f"input {i}", p.type, a.shape) for i, (p, a) in enumerate(zip(function.inputs, inputs, strict=True))]
        known = bind(f"@{name}", shaped, function.known, symbols or {})
        arrays = [np.ascontiguousarray(a) for a in inputs]
        for parameter in function.written:
            kind = parameter.type
            assert isinstance(kind, BufferType)
            shape = [int(d.evaluate(known)) for d in kind.dims]
            empty = bytearray(b"\xa5" * (int(np.prod(shape)) * kind.dtype.bytes))
            arrays.append(np.frombuffer(empty, kind.dtype.numpy).reshape(shape))
        self.launch(function, arrays, [known[s] for s in function.scalars])
        return arrays[len(inputs) :]

    def launch(self, function: KernelFunc, arrays: Sequence[Array], scalars: Sequence[int]) -> None:
        """Runs a kernel on arrays, and writes those that are its outputs.  Raises Failed."""
        device, known = self.device, dict(zip(function.scalars, scalars, strict=True))
        groups = int(task_count(function).evaluate(known))
        before = np.zeros(START, np.uint8)
        contents = [np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in arrays]
        memories = [device.memory(np.concatenate([before, c])) for c in contents]
        scratch = device.memory(np.full(groups * int(scratch_bytes(function).evaluate(known)), 0xA5, np.uint8))
        report = device.memory(np.zeros(24, np.uint8))
        self._enqueue(function, memories, scalars, scratch, report, groups)
        for array, memory in list(zip(arrays, memories, strict=True))[len(function.inputs) :]:
            array[...] = device.read(memory, START + array.nbytes)[START:].view(array.dtype).reshape(array.shape)
        site = device.read(report, 24).view(np.int64)
        for memory in (*memories, scratch, report):
            device.library.clReleaseMemObject(memory)
        if site[0]:
            raise Failed(site.tolist())

    def _enqueue(
        self, function: KernelFunc, memories: Sequence[c_void_p], scalars: Sequence[int], scratch: c_void_p,
        report: c_void_p, groups: int,
    ) -> None:  # fmt: skip
        library, error = self.device.library, c_int()
        kernel = c_void_p(
            library.clCreateKernel(self.program, kernel_name(function.function_name).encode(), byref(error))
        )
        self.device._check(error.value, "clCreateKernel")
        given: list[Any] = [a for m in memories for a in (m, ctypes.c_int64(START))]
        given += [*(ctypes.c_int64(s) for s in scalars), scratch, report]
        given.append(ctypes.c_int32(0))
        for place, argument in enumerate(given):
            bytes_ = c_size_t(ctypes.sizeof(argument))
            self.device._check(library.clSetKernelArg(kernel, place, bytes_, byref(argument)), f"argument {place}")
        if groups:
            threads = group_size(function)
            whole, local = (c_size_t * 1)(groups * threads), (c_size_t * 1)(threads)
            launched = library.clEnqueueNDRangeKernel(self.device.queue, kernel, 1, None, whole, local, 0, None, None)
            self.device._check(launched, "clEnqueueNDRangeKernel")
        self.device._check(library.clFinish(self.device.queue), "clFinish")
        library.clReleaseKernel(kernel)


def watched(path: Path, tool: str) -> str:
    """What oclgrind says of the kernels of a file, unoptimised: it does not know every instruction that LLVM has."""
    command = [
        tool,
        "--data-races",
        "--uninitialized",
        "--build-options",
        "-cl-opt-disable",
        sys.executable,
        __file__,
        path,
    ]
    environment = {**os.environ, "HEADRACE_OPENCL_PLATFORM": "Oclgrind"}
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, check=True, timeout=300, env=environment
    )
    return done.stdout + done.stderr


def main(paths: Sequence[str]) -> None:
    """Each kernel of each file once, on inputs of threes and symbols of 3."""
    device = OpenCL()
    for path in paths:
        functions = list(parse_module(Path(path).read_text()).functions(KernelFunc))
        built = device.build(functions)
        for function in functions:
            symbols = dict.fromkeys(function.scalars, 3)
            kinds = [p.type for p in function.inputs if isinstance(p.type, BufferType)]
            inputs = [np.full([int(d.evaluate(symbols)) for d in k.dims], 3, k.dtype.numpy) for k in kinds]
            built.run(function.function_name, inputs, symbols)
            print(f"ran {function.function_name}")


if __name__ == "__main__":
    main(sys.argv[1:])
