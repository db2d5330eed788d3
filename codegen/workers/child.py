"""The worker process: reads jobs from stdin, writes objects to stdout, ends when stdin does.

Run as `python -m headrace.codegen.workers.child`.  A message with an `error` instead of an object is LLVM's refusal
of the text; when LLVM ends the process, the parent sees the stream end and reads stderr.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

import llvmlite.binding as llvm

from headrace.codegen.workers.job import IGNORED, receive, send


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # LLVM aborts on purpose; no core file for that
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    # Whatever prints to stdout must not get between the messages.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (message := receive(sys.stdin.buffer)) is not None:
        header, text = message
        if header.get("ask") == "host":
            send(out, _host())
            continue
        said = os.fstat(2).st_size
        try:
            object_ = _compile(header, text.decode())
            warnings = os.pread(2, 1 << 16, said).decode(errors="replace").splitlines()
            ignored = [line for line in warnings if IGNORED in line]
            send(out, {"error": ignored[0].strip()} if ignored else {}, b"" if ignored else object_)
        except RuntimeError as error:  # llvmlite's word for what LLVM refuses
            send(out, {"error": " ".join(str(error).split())})


def _host() -> dict[str, Any]:
    features = sorted(name for name, has in llvm.get_host_cpu_features().items() if has)
    return {"triple": llvm.get_process_triple(), "cpu": llvm.get_host_cpu_name(), "features": features}


def _compile(header: dict[str, Any], text: str) -> bytes:
    """The object.  Code positions are relative, so that the linker needs no addresses."""
    target = llvm.Target.from_triple(header["triple"])
    machine = target.create_target_machine(
        cpu=header["cpu"], features=",".join(header["features"]), opt=2, reloc="pic", codemodel="small"
    )
    module = llvm.parse_assembly(text)
    module.triple = header["triple"]
    module.data_layout = str(machine.target_data)
    module.verify()
    return bytes(machine.emit_object(module))


if __name__ == "__main__":
    main()
