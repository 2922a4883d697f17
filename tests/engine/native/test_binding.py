"""llama_cpp and the libraries beside it."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is loaded")
def test_there_is_one_ggml_in_the_process() -> None:
    """A wheel has several copies of each library; a second one that is loaded has a list of devices of its own."""
    script = (
        "from chatapp.engine.native import binding, cpu_layouts, devices, llama\n"
        "llama.init(); devices.devices(); cpu_layouts.CpuLayouts()\n"
        "for name in ('llama', 'ggml', 'ggml-base', 'ggml-cpu'): binding.library(name)\n"
        "files = {line.split()[-1] for line in open('/proc/self/maps')}\n"
        "print(*(file for file in files if '/libggml' in file or '/libllama' in file), sep='\\n')"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names = sorted(Path(line).name.partition(".so")[0] for line in ran.stdout.splitlines())
    assert {"libggml", "libggml-base", "libggml-cpu", "libllama"} <= set(names)
    assert len(names) == len(set(names)), ran.stdout
