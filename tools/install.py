"""Sets up .venv for `make run`, `make install` and `make test`, doing only what is still missing.

Needs nothing but Python with venv and pip; building llama.cpp also needs a C++ compiler and cmake. Each stage is
recorded in the environment, so that an interrupted set-up resumes where it stopped and a finished one takes a few
milliseconds.

CMAKE_ARGS in the environment (e.g. -DGGML_CUDA=on) are remembered: without the variable a later set-up keeps the
existing build, another value rebuilds, and an empty one goes back to the plain build.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TextIO

from tools.browser import provide_browser
from tools.progress import Progress
from tools.stages import Stage, stages

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
TAIL_LINES = 40


class SetupError(Exception):
    """The set-up cannot continue; the message says what happened and what to do next."""


@dataclasses.dataclass
class Stamp:
    """What has been installed, kept as JSON inside the environment: `done` maps a stage to its digest."""

    environment: str
    cmake_args: str
    done: dict[str, str]

    @classmethod
    def read(cls, file: Path) -> Stamp:
        """The stamp in `file`; an empty one where there is none or it is damaged."""
        try:
            values = json.loads(file.read_text("utf-8"))
            return cls(str(values["environment"]), str(values["cmake_args"]), dict(values["done"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls("", "", {})

    def write(self, file: Path) -> None:
        """Replace `file` whole, so that an interruption leaves the old one or the new one."""
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(dataclasses.asdict(self), indent=2), "utf-8")
        fresh.replace(file)


class Setup:
    """The set-up of one checkout, `root`."""

    def __init__(self, root: Path, out: TextIO) -> None:
        """`out` gets the progress."""
        self.root = root
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self.stamp_file = self.venv / "swachat-install.json"
        self.log_file = self.venv / "swachat-install.log"
        self.out = out
        # A moved folder breaks the scripts inside, another Python the packages.
        self.environment = f"{self.venv} with Python {sys.version_info[0]}.{sys.version_info[1]}"

    def pending(self, *, dev: bool, cmake_args: str | None) -> tuple[Stamp, list[Stage]]:
        """The stamp, brought up to date, and what remains to be done; `cmake_args` None means as last time."""
        stamp = Stamp.read(self.stamp_file)
        if stamp.environment != self.environment or not self.python.exists():
            stamp = Stamp(self.environment, stamp.cmake_args, {})
        if cmake_args is not None:
            stamp.cmake_args = cmake_args.strip()
        wanted = stages(dev=dev, cmake_args=stamp.cmake_args)
        return stamp, [stage for stage in wanted if stamp.done.get(stage.name) != stage.digest(self.root)]

    def run(self, *, dev: bool, cmake_args: str | None) -> None:
        """Do what is still missing. Raises SetupError."""
        if not self.pending(dev=dev, cmake_args=cmake_args)[1]:
            return
        with self._alone():
            # Checked again: another set-up may have done it meanwhile.
            stamp, pending = self.pending(dev=dev, cmake_args=cmake_args)
            if not stamp.done:
                self._make_environment()
            self.log_file.write_text("", "utf-8")
            for number, stage in enumerate(pending, 1):
                progress = Progress(f"[{number}/{len(pending)}] {stage.title}", self.out)
                if self._do(stage, progress):
                    progress.end("done")
                    stamp.done[stage.name] = stage.digest(self.root)
                    stamp.write(self.stamp_file)
                else:
                    progress.end("failed")
                    self._explain(stage)

    @contextlib.contextmanager
    def _alone(self) -> Generator[None, None, None]:
        """Keep out other set-ups of the same folder; waits for one that is running."""
        folder = os.open(self.root, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._print("Waiting for another set-up of this folder to finish.")
                fcntl.flock(folder, fcntl.LOCK_EX)
            except OSError:
                pass  # A file system without such locks, such as a network share: the lock is optional.
            yield
        finally:
            os.close(folder)

    def _make_environment(self) -> None:
        """Create .venv; from scratch if it is ours but of another Python or path, else keeping its contents."""
        ours = self.stamp_file.exists()
        packages = self.venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        if self.venv.exists() and not ours and not packages.is_dir():
            raise SetupError(f"{self.venv} exists but is not an environment of this Python. Move it, then try again.")
        self._print(f"Creating {self.environment}")
        command = [sys.executable, "-m", "venv", *(["--clear"] if ours else []), str(self.venv)]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if result.returncode:
            raise SetupError(
                f"{result.stdout.strip()}\n{self.venv} could not be created. Install Python's venv and pip"
                " (on Debian and Ubuntu: the package python3-venv), then try again."
            )

    def _do(self, stage: Stage, progress: Progress) -> bool:
        """Run one stage, its whole output to the log; True where it succeeded."""
        command = [str(self.python), "-m", *stage.module, *stage.arguments]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "CMAKE_ARGS": stage.cmake_args}
        with self.log_file.open("a", encoding="utf-8") as log:
            log.write(f"$ CMAKE_ARGS='{stage.cmake_args}' {' '.join(command)}\n")
            with subprocess.Popen(
                command,
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            ) as running:
                for line in running.stdout or ():
                    log.write(line)
                    progress.read(line)
        return running.returncode == 0

    def _explain(self, stage: Stage) -> None:
        """Say why a stage failed and what to do next. Raises SetupError unless swachat works without it."""
        tail = self.log_file.read_text("utf-8").splitlines()[-TAIL_LINES:]
        if stage.optional:
            reason = next((line for line in reversed(tail) if line.startswith("ERROR")), tail[-1])
            self._print(f"{reason}\n{stage.todo}")
            return
        todo = stage.todo
        if stage.name == "llama" and (missing := missing_tools()):
            todo = f"Not found on this machine: {' and '.join(missing)}. Install it, then try again."
        raise SetupError("\n".join([*tail, "", f"Could not install {stage.title}. Full output: {self.log_file}", todo]))

    def _print(self, text: str) -> None:
        print(text, file=self.out, flush=True)


def missing_tools() -> list[str]:
    """What a build of llama.cpp needs and this machine lacks."""
    compilers = [os.environ["CXX"].split()[0]] if os.environ.get("CXX", "").strip() else ["c++", "g++", "clang++"]
    return [
        name
        for name, commands in (("a C++ compiler", compilers), ("cmake", ["cmake"]))
        if not any(map(shutil.which, commands))
    ]


def main() -> int:
    """The command of the Makefile; returns its exit code."""
    if sys.version_info[:2] < OLDEST_PYTHON:
        newer = [name for name in ("python3.14", "python3.13", "python3.12", "python3.11") if shutil.which(name)]
        hint = f"add PYTHON={newer[0]}" if newer else "install one, then add PYTHON=PATH"
        print(f"swachat needs Python 3.11 or newer; this is {sys.version.split()[0]}: {hint}.", file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(description="Set up swachat's environment, .venv.")
    parser.add_argument("--dev", action="store_true", help="also install what the tests need")
    arguments = parser.parse_args()
    try:
        setup = Setup(ROOT, sys.stdout)
        setup.run(dev=arguments.dev, cmake_args=os.environ.get("CMAKE_ARGS"))
        if arguments.dev:
            provide_browser(setup.venv / "swachat-browser.log", sys.stdout)
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The next set-up resumes from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
