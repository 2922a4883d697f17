"""Which real templates are of models that think, and what their openings of a reply begin: read one by one.

The templates are those of llama.cpp's source archive; `make setup-dev` leaves them in the environment.
"""

import sys
from pathlib import Path
from typing import Any, Final

import pytest

from chatapp.engine.template.sandbox import SandboxedTemplate
from chatapp.thinking.families import FAMILIES
from chatapp.thinking.parser import Parser
from chatapp.thinking.recognise import family_of

FOLDER: Final = Path(sys.prefix) / "llama.cpp" / "templates"
EXPECTED: Final[dict[str, str | None]] = {
    "Apertus-8B-Instruct": "apertus",
    "Apriel-1.6-15b-Thinker-fixed": "apriel",
    "Bielik-11B-v3.0-Instruct": "think",
    "ByteDance-Seed-OSS": "seed",
    "Cohere2MoE": "command-moe",
    "CohereForAI-c4ai-command-r-plus-tool_use": None,
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "command",
    "GLM-4.6": "think",
    "GLM-4.7-Flash": "think",
    "GigaChat3-10B-A1.8B": None,
    "GigaChat3.1-10B-A1.8B": None,
    "HuggingFaceTB-SmolLM3-3B": "think",
    "Kimi-K2-Instruct": None,
    "Kimi-K2-Thinking": "think",
    "Kimi-K3": "kimi-k3",
    "LFM2-8B-A1B": None,
    "LFM2.5-8B-A1B": "think",
    "LFM2.5-Instruct": "think",
    "MiMo-VL": None,
    "MiniMax-M1": None,
    "MiniMax-M2": "think",
    "MiniMax-M3": "minimax-m3",
    "Mistral-Small-3.2-24B-Instruct-2506": None,
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": "think",
    "NVIDIA-Nemotron-Nano-v2": "think",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": None,
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": None,
    "Qwen-QwQ-32B": "think",
    "Qwen-Qwen2.5-7B-Instruct": None,
    "Qwen-Qwen3-0.6B": "think",
    "Qwen3-Coder": None,
    "Qwen3.5-4B": "think",
    "Reka-Edge": "think",
    "Spark2.5": "think",
    "StepFun3.5-Flash": "think",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": "think",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": "think",
    "deepseek-ai-DeepSeek-V3.1": "think",
    "deepseek-ai-DeepSeek-V3.2": "think",
    "deepseek-ai-DeepSeek-V4-Flash-0731": "think",
    "deepseek-ai-DeepSeek-V4": "think",
    "fireworks-ai-llama-3-firefunction-v2": None,
    "google-gemma-2-2b-it": None,
    "google-gemma-4-31B-it-interleaved": "gemma-4",
    "google-gemma-4-31B-it": "gemma-4",
    "ibm-granite-granite-3.3-2B-Instruct": "granite",
    "ibm-granite-granite-4.0": None,
    "ibm-granite-granite-4.1": None,
    "inclusionai-ling-3.0-flash": "think",
    "llama-cpp-deepseek-r1": "think",
    "llama-cpp-rwkv-world": "think",
    "meetkai-functionary-medium-v3.1": None,
    "meetkai-functionary-medium-v3.2": None,
    "meta-llama-Llama-3.1-8B-Instruct": None,
    "meta-llama-Llama-3.2-3B-Instruct": None,
    "meta-llama-Llama-3.3-70B-Instruct": None,
    "microsoft-Phi-3.5-mini-instruct": None,
    "mistralai-Ministral-3-14B-Reasoning-2512": "mistral",
    "mistralai-Mistral-Nemo-Instruct-2407": None,
    "moonshotai-Kimi-K2": None,
    "muse-glimmer": "muse",
    "openai-gpt-oss-120b": "harmony",
    "openbmb-MiniCPM5-1B": "think",
    "poolside-Laguna-S-2.1": "think",
    "poolside-Laguna-XS-2.1": "think",
    "poolside-Laguna-XS.2": "think",
    "tencent-Hy3": "hunyuan-3",
    "unsloth-Apriel-1.5": "apriel",
    "unsloth-mistral-Devstral-Small-2507": None,
    "upstage-Solar-Open-100B": "solar",
}
BEGIN_A_THOUGHT: Final = {
    "Apriel-1.6-15b-Thinker-fixed",
    "Cohere2MoE",
    "GLM-4.7-Flash",
    "Kimi-K3",
    "MiniMax-M2",
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "NVIDIA-Nemotron-Nano-v2",
    "Qwen3.5-4B",
    "Spark2.5",
    "StepFun3.5-Flash",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
    "inclusionai-ling-3.0-flash",
    "llama-cpp-deepseek-r1",
    "poolside-Laguna-S-2.1",
}
"""Where nothing is asked of them. The others leave it to the model, or begin with thoughts that are ended already."""

if not FOLDER.is_dir():
    pytest.skip("llama.cpp's templates were not fetched: make setup-dev does it", allow_module_level=True)


def source(name: str) -> str:
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


def opening_of(template: str) -> str:
    """What the template puts before a reply."""
    renderer = SandboxedTemplate(template)

    def rendered(content: Any, *, reply: bool) -> str:
        messages = [{"role": "user", "content": content}]
        return renderer.render(messages, reply=reply, variables={"bos_token": "", "eos_token": ""})

    content: Any = "Hi"
    try:
        without = rendered(content, reply=False)
    except Exception:  # a template that wants typed content
        content = [{"type": "text", "text": "Hi"}]
        without = rendered(content, reply=False)
    return rendered(content, reply=True).removeprefix(without)


def test_every_template_of_the_archive_was_read() -> None:
    assert {file.stem for file in FOLDER.glob("*.jinja")} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_template_says_which_family_it_is(name: str) -> None:
    found = family_of(source(name))
    assert (found.name if found else None) == EXPECTED[name]


@pytest.mark.parametrize("name", [name for name, family in EXPECTED.items() if family])
def test_the_opening_of_a_reply_says_whether_a_thought_has_begun(name: str) -> None:
    template = source(name)
    parser = Parser(family_of(template), opening=opening_of(template))
    assert parser.thinking == (name in BEGIN_A_THOUGHT)


def test_every_family_is_that_of_a_real_template() -> None:
    assert {family.name for family in FAMILIES} == {name for name in EXPECTED.values() if name}


def test_without_a_template_the_vocabulary_decides() -> None:
    found = family_of(None, ["<s>", "[THINK]", "[/THINK]"])
    assert found
    assert found.name == "mistral"
    assert family_of(None, ["<s>", "</s>"]) is None
    assert family_of("{{ messages }}", ["<think>", "</think>"]) is None
