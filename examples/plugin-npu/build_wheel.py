"""The build backend of this package: one call of the C compiler, one zip file; nothing has to be downloaded for it.

In: this folder, and the headers of the installed Headrace.  Out: a wheel, as PEP 427 and PEP 517 describe it.
scikit-build-core, meson-python or setuptools would do as well.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sysconfig
import tempfile
import tomllib
import zipfile
from pathlib import Path

import headrace.runtime

HERE = Path(__file__).parent
PACKAGE = "headrace_npu"
INCLUDE = Path(headrace.runtime.__path__[0]) / "include"
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-shared", "-fPIC", "-fvisibility=hidden")


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None) -> str:
    """Writes the wheel there, and returns its name."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    tag = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
    name = f"{PACKAGE}-{project['version']}"
    files = {str(p.relative_to(HERE)): p.read_bytes() for p in sorted((HERE / PACKAGE).rglob("*")) if _ships(p)}
    files[f"{PACKAGE}/libnpu.so"] = _library()
    files[f"{name}.dist-info/METADATA"] = _metadata(project).encode()
    files[f"{name}.dist-info/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    files[f"{name}.dist-info/entry_points.txt"] = _entry_points(project["entry-points"]).encode()
    record = f"{name}.dist-info/RECORD"
    rows = [f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items()]
    files[record] = "".join([*rows, f"{record},,\n"]).encode()
    with zipfile.ZipFile(Path(wheel_directory) / f"{name}-{tag}.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
    return f"{name}-{tag}.whl"


def _ships(path: Path) -> bool:
    return path.suffix in (".py", ".pipeline")


def _library() -> bytes:
    """The driver, compiled."""
    sources = sorted((HERE / PACKAGE / "driver").glob("*.c"))
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libnpu.so"
        subprocess.run([os.environ.get("CC", "cc"), *FLAGS, f"-I{INCLUDE}", *sources, "-o", library], check=True)
        return library.read_bytes()


def _metadata(project: dict[str, object]) -> str:
    return (
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        f"Summary: {project['description']}\nRequires-Dist: headrace\n"
    )


def _entry_points(groups: dict[str, dict[str, str]]) -> str:
    return "".join(f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for g, points in groups.items())


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
