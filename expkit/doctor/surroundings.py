"""What surrounds a run: variables that change results or speed, names that hide packages, git, encoding, fonts."""

from __future__ import annotations

import locale
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from expkit.doctor.children import DATA
from expkit.doctor.examination import Scene
from expkit.findings import Finding
from expkit.masking import masked
from expkit.processes import usable_cores
from expkit.provenance import git as ask_git

TOLD = re.compile(
    r"(OMP|MKL|KMP|OPENBLAS|NUMEXPR|VECLIB|GOTO|CUDA|CUDNN|CUBLAS|NCCL|NVIDIA|FLAGS|GLOG|PADDLE|EXPKIT|MLFLOW|HYDRA"
    r"|MALLOC|RAY|SLURM)_.*|PYTHON(PATH|HASHSEED|OPTIMIZE|UTF8|IOENCODING|WARNINGS|NOUSERSITE|SAFEPATH|MALLOC)"
    r"|LD_(PRELOAD|LIBRARY_PATH)|TMPDIR|TF32.*|(https?|all|no)_proxy",
    re.IGNORECASE,
)
"""Variables that change what a run computes, how fast, or what it finds."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_IMPORTED = {
    "paddlepaddle": "paddle",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "hydra-core": "hydra",
}
_LONGEST = 80


def variables(scene: Scene) -> Sequence[Finding]:
    """Say which variables are set that change results or speed, without secrets."""
    there = {name: value for name, value in sorted(scene.environment.items()) if TOLD.fullmatch(name)}
    told = ", ".join(f"{name}={_short(masked(value, name))}" for name, value in there.items())
    found = [Finding("ok", "variables", told or "none that changes results or speed")]
    return [*found, *_threads(there), *_flags(there)]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _threads(there: Mapping[str, str]) -> list[Finding]:
    most = len(usable_cores())
    wide = [name for name in _THREADS if there.get(name, "").isdigit() and int(there[name]) > most]
    if not wide:
        return []
    told = f"{', '.join(wide)} {'asks' if len(wide) == 1 else 'ask'} for more threads than the {most} cores here"
    return [Finding("warning", "threads", f"{told}, which makes runs slower", f"unset {' '.join(wide)}")]


def _flags(there: Mapping[str, str]) -> list[Finding]:
    found = []
    flags = [name for name in there if name.startswith("FLAGS_")]
    if flags:
        told = f"{', '.join(flags)}: Paddle obeys, and a run does not record it, so that `reproduce` may differ"
        found.append(Finding("warning", "flags", told, f"Unless you mean it: unset {' '.join(flags)}"))
    if there.get("PYTHONOPTIMIZE"):
        told = "PYTHONOPTIMIZE switches off the checks (assert) of all libraries"
        found.append(Finding("warning", "flags", told, "unset PYTHONOPTIMIZE"))
    return found


def shadowed(scene: Scene) -> Sequence[Finding]:
    """Say which files in the current folder are imported in place of a package: a script called `paddle.py`."""
    del scene
    try:
        wanted = [re.split(r"[^\w.-]", one)[0].lower() for one in requires("expkit") or []]
    except PackageNotFoundError:
        wanted = []
    names = {_IMPORTED.get(one, one.replace("-", "_")) for one in wanted} | set(sys.stdlib_module_names)
    here = Path.cwd()
    hiding = [one for one in sorted(here.glob("*.py")) if one.stem in names and not one.stem.startswith("_")]
    hiding += [one.parent for one in sorted(here.glob("*/__init__.py")) if one.parent.name in names]
    if not hiding:
        return []
    told = ", ".join(one.name for one in hiding)
    advice = f"Rename {'it' if len(hiding) == 1 else 'them'}: mv {hiding[0].name} my_{hiding[0].name}"
    return [Finding("FAIL", "names", f"{told} in this folder is imported in place of the library of that name", advice)]


def git(scene: Scene) -> Sequence[Finding]:
    """Say whether the code of a run that is started here will be recorded."""
    del scene
    program = shutil.which("git")
    if program is None:
        told = "not found: no run can record the code that it was made by"
        return [Finding("warning", "git", told, "Install it, such as: apt-get install git")]
    asked = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", check=False)
    version = asked.stdout.strip().removeprefix("git version ") or "which does not answer"
    commit = (ask_git(Path.cwd(), "rev-parse", "--short", "HEAD") or "").strip()
    told = f"this folder is at commit {commit}" if commit else "this folder is in no work tree with a commit"
    return [Finding("ok", "git", f"{version}; {told}")]


def encoding(scene: Scene) -> Sequence[Finding]:
    """Say whether texts can be written in any language."""
    del scene
    used = {
        "output": (sys.stdout.encoding if sys.stdout is not None else None) or "none",
        "files": locale.getpreferredencoding(False),
        "file names": sys.getfilesystemencoding(),
    }
    odd = {what: name for what, name in used.items() if name.lower().replace("-", "") not in ("utf8", "none")}
    if not odd:
        return [Finding("ok", "encoding", "UTF-8")]
    told = ", ".join(f"{what}: {name}" for what, name in odd.items())
    advice = "export LANG=C.UTF-8 PYTHONUTF8=1" if sys.platform != "win32" else "setx PYTHONUTF8 1"
    return [Finding("warning", "encoding", f"not UTF-8 ({told}): other letters become question marks", advice)]


def fonts(scene: Scene) -> Sequence[Finding]:
    """Say whether pictures can have Chinese, Japanese and Korean names."""
    answer = scene.child(DATA).answer("fonts")
    if answer.error:
        advice = "Pictures need Matplotlib: python -m pip install 'matplotlib>=3.8,<4'"
        return [Finding("FAIL", "fonts", f"cannot be looked for: {answer.error}", advice)]
    if answer.value["missing"]:
        told = "none that has Chinese, Japanese and Korean letters: names in pictures become boxes"
        return [Finding("warning", "fonts", told, "Install one, such as: apt-get install fonts-noto-cjk")]
    return [Finding("ok", "fonts", f"{answer.value['font']} for Chinese, Japanese and Korean names in pictures")]
