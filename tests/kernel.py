"""Compile what trains in the reader's browser: `python tests/kernel.py` writes its bytes beside its source."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "book" / "_ext" / "widget"
TARGET = ["--target=wasm32-freestanding", "-msimd128", "-O3", "-nostdlib", "-s", "-Wl,--no-entry"]


def compiled(source: Path = FOLDER / "student.c", flags: list[str] = TARGET) -> bytes:
    """Return the WebAssembly that Zig's C compiler makes of the source; it is part of the package `ziglang`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "student.wasm")
        command = [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            *flags,
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            str(out),
        ]
        subprocess.run([*command, str(source)], check=True)
        return out.read_bytes()


if __name__ == "__main__":
    (FOLDER / "student.wasm").write_bytes(compiled())
