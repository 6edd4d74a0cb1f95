"""Runs a command whose libraries see an AMD processor, on a machine with an Intel one.

    python benchmarks/as_amd.py benchmarks/training.py [...]

What is slow on AMD is slow because of what libraries do there: Paddle's MKL (2019) takes its slowest path where cpuid
does not answer "GenuineIntel", later ones, as PyTorch's, take kernels of their own for Zen. Here they take the same
paths, on another processor: ratios tell what these paths and the settings against them do, not what the processor
would. Needs Linux on x86-64, a C compiler, and "cpuid_fault" among the flags in /proc/cpuinfo.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    command = sys.argv[1:]
    if not command or command[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    if "cpuid_fault" not in told:
        raise SystemExit("as_amd: this processor cannot refuse cpuid (no flag cpuid_fault in /proc/cpuinfo).")
    told = re.sub(r"(?m)^(vendor_id\s*:).*", r"\1 AuthenticAMD", told)
    told = re.sub(r"(?m)^(model name\s*:).*", r"\1 AMD EPYC, as told by as_amd", told)
    told = re.sub(r" (amx_\w+|avx512_fp16|avx_vnni)\b", "", told)
    with tempfile.TemporaryDirectory() as folder:
        library, cpuinfo = Path(folder, "as_amd.so"), Path(folder, "cpuinfo")
        cpuinfo.write_text(told, encoding="utf-8")
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library), "AS_AMD_CPUINFO": str(cpuinfo)}
        python = [sys.executable] if command[0].endswith(".py") else []
        return subprocess.run([*python, *command], env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
