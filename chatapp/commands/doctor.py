"""`swachat doctor`: show versions, devices, and what a model's cache supports and how much memory it needs."""

import argparse
import asyncio
import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from chatapp import __version__
from chatapp.commands.shared import add_cache_flags, add_config_flag, config_of, engine_log
from chatapp.errors import BuildError, ModelError, UserError
from chatapp.text import LONGEST_PATH, LONGEST_SENTENCE, one_line
from chatapp.units import size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="path, name or hf:org/repo[:file]; default: the last one used"
    )
    add_cache_flags(parser)
    parser.add_argument("--json", action="store_true", help="print only a JSON object")
    add_config_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    report, unread = asyncio.run(_examine(args))
    if args.json:
        print(json.dumps(report))
    else:
        print("\n".join(_lines(report)))
    if unread is not None:
        raise unread
    return 0


async def _examine(args: argparse.Namespace) -> tuple[dict[str, Any], BuildError | None]:
    """The report; and why nothing can be said of a model, where that is because llama.cpp is an unknown one."""
    from msgspec import to_builtins

    from chatapp import models, paths
    from chatapp.config import cache_settings, engine_settings
    from chatapp.headless import Headless
    from chatapp.protocol.commands import Examine
    from chatapp.protocol.events import Examined, Started

    config = config_of(args)
    path: Path | None = None
    problem: str | None = None
    try:
        path = models.resolve(args.model or config.model)
    except (UserError, ModelError) as error:
        if args.model is not None:
            raise
        problem = str(error)
    async with Headless(engine_log()) as engine:
        started = await engine.until(Started)
        examined: Examined | None = None
        unread: BuildError | None = None
        if path is not None:
            engine.post(Examine(path=str(path), cache=cache_settings(config), engine=engine_settings(config)))
            try:
                examined = await engine.until(Examined)
            except BuildError as error:
                unread, problem = error, str(error)
        if engine.interrupted:
            raise KeyboardInterrupt
    reads = _with_log(to_builtins(started.reads), examined=examined is not None, unread=unread)
    report = {
        "versions": {
            "swachat": __version__,
            "python": platform.python_version(),
            "llama_cpp_python": started.llama_cpp_python,
            "llama_cpp": started.llama_cpp,
            "textual": metadata.version("textual"),
        },
        "build": {"gpu_offload": started.gpu_offload, "features": _features(started.system_info), **reads},
        "devices": to_builtins(started.devices),
        "model": to_builtins(examined.model) if examined else None,
        "model_problem": problem,
        "capability": to_builtins(examined.capability) if examined else None,
        "sinks": to_builtins(examined.sinks) if examined else None,
        "plan": {
            "asked_ctx": config.cache.ctx,
            "n_ctx": examined.n_ctx,
            **to_builtins(examined.planned),
            "largest_ctx": examined.largest_ctx,
            "free_bytes": examined.free_bytes,
        }
        if examined
        else None,
        "paths": {
            "config": str(paths.config_file()),
            "store": str(paths.store_file()),
            "models": str(paths.models_dir()),
            "engine_log": str(engine_log()),
        },
    }
    return report, unread


def _with_log(reads: dict[str, Any], *, examined: bool, unread: BuildError | None) -> dict[str, Any]:
    """`reads`, and whether llama.cpp's log says what is read from it: null where no model could show that."""
    log: dict[str, Any] | None = {"ok": True, "why": ""} if examined else None
    if unread is not None and all(unread.what != answer["why"] for answer in reads.values()):
        log = {"ok": False, "why": unread.what}
    return {**reads, "log": log}


def _features(info: str) -> list[str]:
    """The enabled names of `CPU : AVX2 = 1 | F16C = 1 | ...`."""
    pairs = (part.rpartition(":")[2].split("=") for part in info.split("|") if "=" in part)
    return [name.strip() for name, value in pairs if value.strip() not in ("0", "")]


def _lines(report: dict[str, Any]) -> list[str]:
    versions = report["versions"]
    lines = [
        f"swachat {versions['swachat']}, Python {versions['python']} on {sys.platform}, Textual {versions['textual']}",
        f"llama.cpp {versions['llama_cpp']} (llama-cpp-python {versions['llama_cpp_python']}); "
        + (
            "GPU offload available"
            if report["build"]["gpu_offload"]
            else "no GPU support in this build: models run on the CPU"
        ),
        f"features: {' '.join(report['build']['features'])}",
        *_compatibility_lines({name: report["build"][name] for name in ("functions", "tensors", "scheduler", "log")}),
    ]
    lines += [_device_line(device) for device in report["devices"]]
    if report["model"] is None:
        return [*lines, f"no model: {one_line(report['model_problem'] or '', LONGEST_SENTENCE)}"]
    lines += ["", *_model_lines(report["model"]), "", *_capability_lines(report["capability"])]
    return [*lines, *_sink_lines(report["sinks"]), "", *_plan_lines(report["plan"])]


def _compatibility_lines(reads: dict[str, dict[str, Any] | None]) -> list[str]:
    """Which ways of looking into llama.cpp work, and why others do not."""
    said = ", ".join(
        f"{name} {'not tried' if answer is None else 'yes' if answer['ok'] else 'no'}" for name, answer in reads.items()
    )
    refused = {name: answer["why"] for name, answer in reads.items() if answer is not None and not answer["ok"]}
    whys = [f"            {name}: {one_line(why, LONGEST_SENTENCE)}" for name, why in refused.items()]
    return [f"compatible: {said}", *whys]


def _device_line(device: dict[str, Any]) -> str:
    free, total = device["free_bytes"], device["total_bytes"]
    memory = f"{size(free)} of {size(total)} free" if free and total else "memory unknown"
    return f"device {one_line(device['name'])} ({device['kind']}): {one_line(device['description'])}, {memory}"


def _model_lines(model: dict[str, Any]) -> list[str]:
    from chatapp.models import name_of

    def shown(value: object) -> str:
        return "-" if value is None else one_line(str(value), LONGEST_PATH)

    window = (
        f"{model['n_swa']} tokens in {model['n_layer_swa']} of {model['n_layer']} layers" if model["n_swa"] else "none"
    )
    scaling = model["rope_scaling"]
    experts = f", {model['n_expert_used']} of {model['n_expert']} experts" if model["n_expert"] else ""
    heads = f"{shown(model['n_head'])} heads ({shown(model['n_head_kv'])} KV) of size {shown(model['head_dim'])}"
    sinks = "yes" if model["learned_sinks"] else "no"
    return [
        f"model     {shown(name_of(model['path']))} ({shown(model['path'])}, {size(model['size_bytes'])})",
        f"          architecture {shown(model['architecture'])}, {model['n_layer']} layers{experts}, {heads}",
        f"          trained for {model['n_ctx_train']} tokens; sliding window: {window}",
        f"          rope scaling: {'none' if scaling is None else one_line(scaling)}; learned sinks: {sinks}",
    ]


def _capability_lines(capability: dict[str, Any]) -> list[str]:
    names = ("evict", "renumber", "roll_back", "quantize_k", "quantize_v", "save_state", "probe")
    lines = [f"policy     {capability['policy']}: {one_line(capability['policy_why'], LONGEST_SENTENCE)}"]
    for name in names:
        answer = capability[name]
        why = f" ({one_line(answer['why'], LONGEST_SENTENCE)})" if answer["why"] else ""
        lines.append(f"{name.replace('_', ' '):<11}{'yes' if answer['ok'] else 'no'}{why}")
    return lines


def _sink_lines(sinks: dict[str, Any]) -> list[str]:
    lines = [f"sinks      {sinks['n']}: {one_line(sinks['why'], LONGEST_SENTENCE)}"]
    if sinks["trials"]:
        kept = (
            f"{trial['n_sink']}: {trial['excess_nats']:.3f} ± {trial['error_nats']:.3f}" for trial in sinks["trials"]
        )
        lines.append(f"           loss above the best in nats per token, by first tokens kept: {', '.join(kept)}")
    if sinks["outliers"]:
        found = (f"{outlier['pos']} ({outlier['ratio']:.0f} times)" for outlier in sinks["outliers"])
        lines.append(f"           residual norms far above the median: at position {', '.join(found)}")
    return lines


def _plan_lines(plan: dict[str, Any]) -> list[str]:
    parts = {
        "weights": plan["weights_bytes"],
        "KV": plan["kv_bytes"],
        "KV, sliding": plan["kv_swa_bytes"],
        "compute": plan["compute_bytes"],
    }
    sizes = ", ".join(f"{name} {size(n_bytes)}" for name, n_bytes in parts.items() if n_bytes is not None)
    asked = " (max)" if plan["asked_ctx"] == "max" else ""
    return [
        f"plan      window {plan['n_ctx']}{asked}: {sizes}",
        f"          {size(plan['free_bytes'])} free; the longest window that fits is {plan['largest_ctx']}",
    ]
