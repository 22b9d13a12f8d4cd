"""Is the wheel the three packages, all of them and nothing else?

python tools/check_wheel.py contents dist/farwide-*.whl    against this checkout
python tools/check_wheel.py installed                      in an environment that has it
"""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "farwide": ROOT / "src/farwide",
    "kernels_pallas": ROOT / "kernels_pallas",
    "theory": ROOT / "theory",
}


def expected() -> set[str]:
    """The files of the three packages as they are named inside a wheel."""
    return {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def contents(wheel: Path) -> list[str]:
    """One sentence for each thing that is wrong with a wheel; none when it is right."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = [n for n in names if n.split("/")[0].endswith(".dist-info")]
        scripts = [archive.read(n).decode() for n in metadata if n.endswith("entry_points.txt")]
    wrong = [f"{name} is missing" for name in sorted(expected() - names)]
    strange = names - expected() - set(metadata)
    wrong += [f"{name} does not belong in it" for name in sorted(strange)]
    if not any(n.endswith("licenses/LICENSE") for n in metadata):
        wrong.append("the licence is missing")
    if not any("farwide = farwide.cli:main" in script for script in scripts):
        wrong.append("the command farwide is missing")
    return wrong


def installed() -> list[str]:
    """One sentence for each package that does not import from this environment."""
    wrong = []
    for name in PACKAGES:
        place = Path(importlib.import_module(name).__file__ or "")
        print(f"{name}: {place}")
        if not place.resolve().is_relative_to(Path(sys.prefix).resolve()):
            wrong.append(f"{name} came from {place}, outside {sys.prefix}")
    return wrong


def main(argv: list[str]) -> int:
    match argv:
        case ["contents", wheel]:
            wrong = contents(Path(wheel))
        case ["installed"]:
            wrong = installed()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    for sentence in wrong:
        print(f"wheel: {sentence}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
