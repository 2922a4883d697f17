"""The settings: their defaults, where they come from, and what a person is told about a mistake."""

import argparse
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp import paths
from chatapp.cache.policy import POLICIES
from chatapp.commands import config as command
from chatapp.config import Config, cache_settings, check_config, engine_settings, example_yaml, load_config, sampling
from chatapp.config.load import environment_names
from chatapp.config.models import Policy
from chatapp.errors import ConfigError, UserError
from chatapp.protocol.values import CacheRequest, CacheSettings, EngineSettings, Sampling
from chatapp.text import visible

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the config of the person who runs it."""
    for name in list(os.environ):
        if name.startswith("SWACHAT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


def write(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "config.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    """What is said about a file of this text, without the path of the file."""
    file = write(tmp_path, text)
    return [str(problem).replace(str(file), "FILE") for problem in check_config({}, {}, file)]


def one_visible_line(text: str) -> bool:
    return "\n" not in text and visible(text) == text


# --------------------------------------------------------------------------- defaults


def test_the_defaults_are_those_of_the_engine() -> None:
    config = load_config({}, {})
    assert cache_settings(config) == CacheRequest()
    assert msgspec.structs.asdict(CacheRequest()) == msgspec.structs.asdict(CacheSettings())
    assert engine_settings(config) == EngineSettings()
    assert engine_settings(config, watched=True) == EngineSettings(probe_every=None)
    assert sampling(config) == Sampling()


def test_every_setting_reaches_the_engine() -> None:
    flags = {
        "cache.ctx": 512, "cache.sinks": 9, "cache.policy": "dense", "cache.evict_share": 0.5, "cache.swa_full": True,
        "cache.type_k": "q8_0", "cache.type_v": "q4_0", "cache.micro_batch": 64, "cache.live_branches": 3,
        "cache.checkpoint_mib": 5, "engine.gpu_layers": 3, "engine.probe_every": 7, "engine.probe_always": True,
        "engine.threads": 2, "engine.flash_attention": "on", "sampling.temperature": 0.1, "sampling.top_k": 1,
        "sampling.top_p": 0.2, "sampling.min_p": 0.3, "sampling.repeat_penalty": 1.4, "sampling.seed": 7,
        "sampling.max_tokens": 5, "sampling.think_budget": 6, "engine.chat_template": "a.jinja",
        "engine.template_args": {"a": 1, "b": "c"},
    }  # fmt: skip
    config = load_config(flags, {})
    wire: dict[str, object] = {}
    for section, value in (("cache", cache_settings(config)), ("engine", engine_settings(config)),
                           ("sampling", sampling(config))):  # fmt: skip
        wire |= {f"{section}.{name}": setting for name, setting in msgspec.structs.asdict(value).items()}
    wire["cache.ctx"] = wire.pop("cache.n_ctx")
    wire["engine.template_args"] = dict(engine_settings(config).template_args)
    assert wire == flags


def test_the_largest_window_can_be_asked_for_wherever_a_number_can(tmp_path: Path) -> None:
    """It reaches the engine as None, which no other setting of the window does."""
    file = write(tmp_path, "cache: {ctx: max}\n")
    for config in (
        load_config({"cache.ctx": "max"}, {}),
        load_config({}, {"SWACHAT_CACHE_CTX": "max"}),
        load_config({}, {}, file),
    ):
        assert cache_settings(config) == CacheRequest(n_ctx=None)
    assert cache_settings(load_config({"cache.ctx": 512}, {}, file)).n_ctx == 512


def test_sinks_can_be_left_to_a_measurement_wherever_a_number_can_be_set(tmp_path: Path) -> None:
    file = write(tmp_path, "cache: {sinks: auto}\n")
    for config in (
        load_config({"cache.sinks": "auto"}, {}),
        load_config({}, {"SWACHAT_CACHE_SINKS": "auto"}),
        load_config({}, {}, file),
    ):
        assert cache_settings(config) == CacheRequest(sinks=None)
    assert cache_settings(load_config({"cache.sinks": 0}, {}, file)).sinks == 0


def test_the_policies_are_those_of_the_cache() -> None:
    assert set(get_args(Policy)) == {"auto", *POLICIES}


# --------------------------------------------------------------------------- precedence


def test_flags_go_before_the_environment_that_before_the_file_that_before_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, "cache: {ctx: 1000, sinks: 1, micro_batch: 10}\n")
    environ = {"SWACHAT_CACHE_CTX": "2000", "SWACHAT_CACHE_SINKS": "2"}
    cache = load_config({"cache.ctx": 3000, "cache.sinks": None}, environ, file).cache
    assert (cache.ctx, cache.sinks, cache.micro_batch, cache.evict_share) == (3000, 2, 10, 0.125)


def test_the_environment_is_read_by_the_type_of_each_setting() -> None:
    environ = {
        "SWACHAT_MODEL": "123", "SWACHAT_CACHE_SWA_FULL": "true", "SWACHAT_SAMPLING_TEMPERATURE": "1",
        "SWACHAT_SAMPLING_SEED": "null", "SWACHAT_ENGINE_FLASH_ATTENTION": "off", "SWACHAT_CACHE_CTX": "",
    }  # fmt: skip
    config = load_config({}, environ)
    assert (config.model, config.cache.swa_full, config.sampling.temperature) == ("123", True, 1.0)
    assert (config.sampling.seed, config.engine.flash_attention, config.cache.ctx) == (None, "off", 4096)


def test_null_in_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "sampling: {seed: 5}")
    assert load_config({}, {}, file).sampling.seed == 5
    assert load_config({}, {"SWACHAT_SAMPLING_SEED": "null"}, file).sampling.seed is None


def test_every_setting_but_the_keys_has_a_variable() -> None:
    names = environment_names()
    assert names["SWACHAT_SYSTEM"] == ("system",)
    assert names["SWACHAT_UI_FRAMES_PER_SECOND"] == ("ui", "frames_per_second")
    assert not any("KEYS" in name for name in names)
    assert not set(names) & set(paths.VARIABLES)


def test_the_file_is_found_by_its_variable_and_in_its_default_place(tmp_path: Path) -> None:
    default = paths.config_file({})
    default.parent.mkdir(parents=True)
    default.write_text("system: from the default place")
    assert load_config({}, {}).system == "from the default place"
    named = write(tmp_path, "system: from the named file")
    assert load_config({}, {"SWACHAT_CONFIG": str(named)}).system == "from the named file"


def test_without_a_file_the_defaults_hold_but_a_named_file_must_exist(tmp_path: Path) -> None:
    assert load_config({}, {}) == Config()
    missing = tmp_path / "missing.yaml"
    for found in (check_config({}, {"SWACHAT_CONFIG": str(missing)}), check_config({}, {}, missing)):
        assert [str(problem) for problem in found] == [f"{missing} does not exist. Check the path."]


# --------------------------------------------------------------------------- what a file may hold


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n", "cache:\nkeys:\n", "\ufeffmodel: null\n", "{}"])
def test_a_file_that_sets_nothing_is_valid(tmp_path: Path, text: str) -> None:
    assert load_config({}, {}, write(tmp_path, text)) == Config()


def test_values_that_yaml_reads_oddly_are_taken_as_meant(tmp_path: Path) -> None:
    text = "system: 2026-01-01\nengine:\n  flash_attention: off\nkeys:\n  on: ctrl+o\nsampling: {temperature: 1}\n"
    config = load_config({}, {}, write(tmp_path, text))
    assert (config.system, config.engine.flash_attention) == ("2026-01-01", "off")
    assert (config.keys, config.sampling.temperature) == ({"on": "ctrl+o"}, 1.0)


MISTAKES = {
    "cache:\n  ctx: 12\n": "FILE, line 2: cache.ctx must be a whole number from 256 to 2147483647 or max, not 12.",
    "cache:\n  ctx: '512'\n": "FILE, line 2: cache.ctx must be a whole number from 256 to 2147483647 or max, "
    'not "512".',
    "cache:\n\n  swa_full: 1\n": "FILE, line 3: cache.swa_full must be true or false, not 1.",
    "cache: {evict_share: .nan}": "FILE, line 1: cache.evict_share must be a number from 0.05 to 0.75, not nan.",
    "sampling: {temperature: -1}": "FILE, line 1: sampling.temperature must be a number of at least 0, not -1.",
    "sampling: {repeat_penalty: 0}": "FILE, line 1: sampling.repeat_penalty must be a number above 0, not 0.",
    "sampling:\n  seed: a": 'FILE, line 2: sampling.seed must be a whole number from 0 to 4294967294 or null, not "a".',
    "model: 3": "FILE, line 1: model must be text or null, not 3.",
    "model: [a]": "FILE, line 1: model must be text or null, not a list.",
    "ui: {theme: ''}": 'FILE, line 1: ui.theme must be text that is not empty, not "".',
    "ui: dark": 'FILE, line 1: ui must be a mapping, not "dark".',
    "keys:\n  quit: 1": "FILE, line 2: keys.quit must be text, not 1.",
    "cache: {policy: sink}": "FILE, line 1: cache.policy must be one of auto, sinks, slide, rebuild, window, dense, "
    'not "sink". '
    'Did you mean "sinks"?',
    "cache:\n  sinks: 4\n  ctxx: 5": "FILE, line 3: unknown key cache.ctxx. Did you mean cache.ctx?",
    "cash:\n  ctx: 512": "FILE, line 1: unknown key cash. Did you mean cache?",
    "ctx: 512": "FILE, line 1: unknown key ctx. Did you mean cache.ctx?",
    "cache: {zebra: 1}": "FILE, line 1: unknown key cache.zebra. Valid keys: ctx, sinks, policy, evict_share, "
    "swa_full, type_k, type_v, micro_batch, live_branches, checkpoint_mib.",
    "system: a\ncache:\n  ctx: 512\nsystem: b": "FILE, line 4: duplicate key system, first set on line 1. "
    "Remove one of them.",
    "cache:\n  ctx: 512\n  ctx: 600": "FILE, line 3: duplicate key cache.ctx, first set on line 2. Remove one of them.",
    "model: a\n  system: b": "FILE, line 2: this is not valid YAML: mapping values are not allowed here. "
    "Check the colons, quotes and indentation there and just above.",
    "- a\n- b": "FILE, line 1: the file does not contain settings. Write one `key: value` per line.",
    "just words": "FILE, line 1: the file does not contain settings. Write one `key: value` per line.",
    "model: a\n---\nmodel: b": "FILE, line 2: this is not valid YAML: but found another document. "
    "Check the colons, quotes and indentation there and just above.",
    "model: a\nsystem: \x1b[2J": "FILE, line 2: a control character is not allowed. "
    "Remove it, or escape it inside double quotes.",
    "model: &a x\nsystem: *a": "FILE, line 1: an alias (*name) is not allowed. Write the value out.",
    "model: !!python/object/apply:os.system [ls]": "FILE, line 1: the tag "
    "tag:yaml.org,2002:python/object/apply:os.system is not allowed. Write a plain value.",
    "cache: {ctx: !!int x}": "FILE, line 1: this value cannot be read. Write a plain value.",
    "? [a]\n: b": "FILE, line 1: a key must be plain text. Write `key: value`.",
    "[" * 9999: "FILE is nested too deeply. Settings are nested two levels deep at most.",
    f"cache: {{ctx: {'9' * 5000}}}": "FILE, line 1: this value cannot be read. Write a plain value.",
    f"cache: {{ctx: {'9' * 90}}}": "FILE, line 1: cache.ctx must be a whole number from 256 to 2147483647 or max, "
    "not a number of that size.",
    "cache: {sinks: many}": "FILE, line 1: cache.sinks must be a whole number from 0 to 2147483647 or auto, "
    'not "many".',
    "cache: {ctx: all}": 'FILE, line 1: cache.ctx must be a whole number from 256 to 2147483647 or max, not "all".',
    "cache: {ctx: Max}": 'FILE, line 1: cache.ctx must be a whole number from 256 to 2147483647 or max, not "Max". '
    'Did you mean "max"?',
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_with_file_line_and_key(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text) == [MISTAKES[text]]


def test_text_that_is_not_utf_8_names_its_line(tmp_path: Path) -> None:
    assert problems(tmp_path, b"model: a\nsystem: caf\xe9\n") == [
        "FILE, line 2: the text is not UTF-8. Save the file as UTF-8."
    ]


def test_what_is_no_file_of_settings_is_said_so(tmp_path: Path) -> None:
    (folder,) = check_config({}, {}, tmp_path)
    assert str(folder).startswith(f"{tmp_path} cannot be read: Is a directory.")
    (endless,) = check_config({}, {}, Path("/dev/zero"))
    assert "larger than 1048576 bytes" in str(endless)


def test_nested_aliases_cannot_blow_up(tmp_path: Path) -> None:
    levels = "\n".join(f"k{n + 1}: &k{n + 1} [{', '.join([f'*k{n}'] * 9)}]" for n in range(30))
    assert "an alias (*name) is not allowed" in problems(tmp_path, f"k0: &k0 [x]\n{levels}\n")[0]


def test_nothing_from_the_file_reaches_the_terminal_as_control(tmp_path: Path) -> None:
    (value, key) = problems(tmp_path, 'ui: {"\\e]52;c;x\\a": 1}\ncache: {policy: "\\e[31mred"}')
    assert '"␛[31mred"' in value
    assert "ui.␛]52;c;x␇" in key


def test_all_problems_are_listed_and_load_raises_the_first_with_their_count(tmp_path: Path) -> None:
    file = write(tmp_path, "cache:\n  ctx: 1\n  sinks: -1\n")
    environ = {"SWACHAT_CACHE_CTX": "abc", "SWACHAT_UI_THEEM": "x"}
    found = [str(problem) for problem in check_config({"sampling.top_p": 2.0}, environ, file)]
    assert [text.split(" must be ")[0] for text in found] == [
        f"{file}, line 2: cache.ctx",
        f"{file}, line 3: cache.sinks",
        "The environment variable SWACHAT_UI_THEEM matches no setting. Did you mean SWACHAT_UI_THEME?",
        "SWACHAT_CACHE_CTX=abc: cache.ctx",
        "On the command line: sampling.top_p",
    ]
    with pytest.raises(ConfigError, match=r"line 2: cache\.ctx .*\(And 4 more: see `swachat config check`\.\)$"):
        load_config({"sampling.top_p": 2.0}, environ, file)


def test_variables_that_are_no_settings_are_left_alone() -> None:
    environ = {"SWACHAT_CACHE_DIR": "/a", "SWACHAT_OTHER": "b", "PATH": "/bin"}
    assert check_config({}, environ) == []
    (problem,) = check_config({}, {"SWACHAT_KEYS_QUIT": "q"})
    assert "SWACHAT_KEYS_QUIT matches no setting" in str(problem)


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_any_file_is_either_valid_or_named_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(data)
    for problem in check_config({}, {}, file):
        assert str(file) in str(problem)
        assert one_visible_line(str(problem))


@given(st.dictionaries(st.sampled_from(sorted(environment_names())), st.text(max_size=12)))
def test_any_environment_is_either_valid_or_named_in_one_line(environ: dict[str, str]) -> None:
    for problem in check_config({}, environ):
        assert "SWACHAT_" in str(problem)
        assert one_visible_line(str(problem))


# --------------------------------------------------------------------------- the example


def test_the_example_is_what_the_code_makes() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text == example_yaml(), "run `python -c 'from chatapp.config import *; print(example_yaml(), end=\"\")'`"


def test_the_example_sets_every_setting_to_its_default() -> None:
    assert load_config({}, {}, EXAMPLE) == Config()
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for name in environment_names().values():
        (at,) = [n for n, line in enumerate(lines) if line.strip().startswith(f"{name[-1]}: ")]
        assert lines[at - 1].strip().startswith("# "), f"{name} has no reason above it"


# --------------------------------------------------------------------------- the command


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_init_writes_a_private_file_that_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init") == 0
    file = paths.config_file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert str(file) in capsys.readouterr().out
    assert run("check") == 0
    assert capsys.readouterr().out == f"{file} is valid.\n"
    assert load_config({}, {}) == Config()


def test_init_keeps_a_file_that_is_there_unless_forced() -> None:
    file = paths.config_file()
    file.parent.mkdir(parents=True)
    file.write_text("system: mine")
    with pytest.raises(ConfigError, match="already exists"):
        run("init")
    assert file.read_text() == "system: mine"
    assert run("init", "--force") == 0
    assert file.read_text(encoding="utf-8") == example_yaml()
    assert os.listdir(file.parent) == [file.name], "no temporary file stays behind"


def test_init_writes_through_a_link(tmp_path: Path) -> None:
    link = paths.config_file()
    link.parent.mkdir(parents=True)
    target = tmp_path / "dotfiles" / "swachat.yaml"
    link.symlink_to(target)
    assert run("init", "--force") == 0
    assert link.is_symlink()
    assert target.is_file()


def test_init_into_a_place_that_cannot_be_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SWACHAT_CONFIG", str(tmp_path / "file" / "config.yaml"))
    with pytest.raises(UserError, match="cannot be created"):
        run("init")


def test_path_prints_only_the_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("path") == 0
    assert capsys.readouterr().out == f"{paths.config_file()}\n"


def test_check_lists_every_problem_and_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, "cache: {ctx: 1}\nmodle: x\n")
    assert run("check", str(file)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(":")[1].strip() for line in captured.err.splitlines()] == [
        "cache.ctx must be a whole number from 256 to 2147483647 or max, not 1.",
        "unknown key modle. Did you mean model?",
    ]


def test_check_of_one_file_does_not_look_at_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWACHAT_CACHE_CTX", "abc")
    assert run("check", str(write(tmp_path, ""))) == 0
    assert run("check") == 2


def test_check_without_a_file_says_that_defaults_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check") == 0
    assert "There is no config file" in capsys.readouterr().out


# --------------------------------------------------------------------------- what an import costs


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import chatapp.paths, chatapp.commands.config", ("pydantic", "yaml", "textual", "numpy", "llama_cpp")),
        ("from chatapp.config import load_config; load_config({}, {})", ("yaml", "textual", "numpy", "llama_cpp")),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str, absent: tuple[str, ...]) -> None:
    script = f"{statement}; import sys; print([name for name in {absent!r} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
