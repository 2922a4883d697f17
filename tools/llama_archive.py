"""What the tests take from llama.cpp's source: real chat templates, and real vocabularies without weights.

`python -m tools.llama_archive LOCK FOLDER` has pip fetch the archive that LOCK names, by its hash, and leaves in FOLDER
only `templates/*.jinja` and `vocabularies/*.gguf`. Nothing of it is part of this repository.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FETCH = ("download", "--require-hashes", "--no-deps", "--no-build-isolation", "--no-binary=:all:", "--progress-bar=raw")
WANTED = re.compile(r"[^/]+/vendor/llama\.cpp/models/(?:(templates)/)?([\w.+-]+\.jinja|ggml-vocab-[\w.+-]+\.gguf)")


def unpack(archive: Path, folder: Path) -> None:
    """Write the wanted files of `archive` to `folder`, replacing what is there; whole, or not at all.

    A name decides only whether a file is wanted: it is written by its last part alone. ValueError where a kind is
    missing.
    """
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            match = WANTED.fullmatch(member.name)
            content = tar.extractfile(member) if match and member.isfile() else None
            if match is None or content is None or (match[1] is None) != match[2].endswith(".gguf"):
                continue
            file = fresh / (match[1] or "vocabularies") / match[2]
            file.parent.mkdir(parents=True, exist_ok=True)
            with content, file.open("wb") as copy:
                shutil.copyfileobj(content, copy)
    missing = [kind for kind in ("templates", "vocabularies") if not (fresh / kind).is_dir()]
    if missing:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ValueError(f"{archive.name} has no {' and no '.join(missing)} of llama.cpp where they used to be.")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)


def main(lock: str, folder: str) -> int:
    """Fetch and unpack; returns the exit code."""
    with tempfile.TemporaryDirectory() as there:
        pip = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check"]
        fetched = subprocess.run([*pip, *FETCH, "-d", there, "-r", lock], check=False)
        archives = list(Path(there).glob("*.tar.gz"))
        if fetched.returncode or len(archives) != 1:
            return fetched.returncode or 1
        try:
            unpack(archives[0], Path(folder))
        except (OSError, tarfile.TarError, ValueError) as error:
            print(f"ERROR: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
