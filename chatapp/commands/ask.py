"""`swachat ask`: send one prompt and print the reply."""

import argparse
import asyncio
import json
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatapp.commands import each, given
from chatapp.commands.held_session import held_session
from chatapp.commands.shared import (
    add_cache_flags,
    add_config_flag,
    add_sampling_flags,
    add_trace_flags,
    config_of,
    engine_log,
    opened_trace,
)
from chatapp.commands.shown_reply import ShownReply
from chatapp.errors import OutputError, StoreError, SwachatError, UserError
from chatapp.text import LONGEST_SENTENCE, one_line

if TYPE_CHECKING:
    from chatapp.config import Config
    from chatapp.headless import Headless
    from chatapp.protocol.events import Opened, Pinned, Snapshot, Text, TurnDone
    from chatapp.protocol.values import Message
    from chatapp.replay.record import Recorder
    from chatapp.store import SessionInfo, Store, StoredMessage

SAVE_WITHIN_S = 0.1
"""How soon a piece of a reply is stored."""
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    parser.add_argument(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help="the message; what is piped to standard input follows it, and is all of it if PROMPT is omitted or -",
    )
    parser.add_argument(
        "--stdin", action="store_true", help="wait for standard input as long as it takes (default: 10 s)"
    )
    parser.add_argument("--model", metavar="MODEL", help="path, name or hf:org/repo[:file]; default: the last one used")
    add_cache_flags(parser)
    add_sampling_flags(parser)
    parser.add_argument("--session", metavar="NAME", help="continue the stored conversation NAME, or start it")
    parser.add_argument(
        "--wait",
        type=float,
        metavar="S",
        help="wait at most S seconds while another program has the conversation open; default: until it is free",
    )
    parser.add_argument("--each", type=Path, metavar="FILE", help="reply to every line of FILE, several in parallel")
    parser.add_argument(
        "--at-once",
        type=int,
        default=each.AT_ONCE,
        metavar="N",
        help="prompts of --each to run in parallel (default 4)",
    )
    parser.add_argument("--json", action="store_true", help="print only a JSON object, at the end")
    parser.add_argument("--show-thoughts", action="store_true", help="print what the model thinks before the reply too")
    add_trace_flags(parser)
    add_config_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    if args.wait is not None and (args.session is None or not args.wait >= 0):
        raise UserError("--wait S waits for a conversation that is in use.", "Add --session NAME; S is 0 or more.")
    if args.each is not None:
        return each.run(args)
    prompt = _prompt(args.prompt, patient=args.stdin)
    config = config_of(args)
    with opened_trace(args.trace, force=args.force) as trace:
        if args.session is None:
            return asyncio.run(_ask(args, config, prompt, trace, _Chat(None)))
        from chatapp.paths import store_file
        from chatapp.store import Store

        with Store.open(store_file()) as store:
            for notice in store.notices:
                print(f"swachat: {one_line(notice, LONGEST_SENTENCE)}", file=sys.stderr)
            session = held_session(store, args.session, partial(_begin, args, config, store), wait_s=args.wait)
            return asyncio.run(_ask(args, config, prompt, trace, _Chat(store, session, store.path(session.id))))


def _begin(args: argparse.Namespace, config: "Config", store: "Store") -> "SessionInfo":
    from chatapp import models

    spec = args.model or config.model
    path = models.resolve(spec)
    settings = config.cache.model_dump()
    return store.new_session(model=str(spec or path), system=config.system, settings=settings, name=args.session)


def _prompt(question: str | None, *, patient: bool) -> str:
    """The message: PROMPT, what is on standard input, or one after the other. Raises UserError where there is none."""
    alone = question is None or question == "-"
    text = given.standard_input(patient=patient or alone)
    if question is None or question == "-":
        if text is None:
            raise UserError("There is no prompt.", 'Give one: swachat ask "Hello", or pipe it to standard input.')
        question = ""
    prompt = given.joined(question, text or "")
    if not prompt.strip():
        raise UserError("The prompt is empty.", 'Say something: swachat ask "Hello".')
    return prompt


@dataclass
class _Chat:
    """The stored conversation that the turn belongs to, or none."""

    store: "Store | None"
    session: "SessionInfo | None" = None
    path: "list[StoredMessage]" = field(default_factory=list["StoredMessage"])
    reply_id: int | None = None
    unsaved: tuple[str, str] = ("", "")
    """Of the reply: its text and its reasoning."""
    saved_at: float = float("-inf")
    timer: asyncio.TimerHandle | None = None

    @property
    def turn(self) -> int:
        return self.path[-1].turn + 1 if self.path else 1

    def begin(self, prompt: str) -> None:
        """Store the user's message before it is sent."""
        if self.store is None or self.session is None:
            return
        head = self.path[-1].id if self.path else None
        asked = self.store.add_message(self.session.id, parent_id=head, turn=self.turn, role="user", text=prompt)
        self.reply_id = self.store.add_message(
            self.session.id, parent_id=asked, turn=self.turn, role="assistant", state="growing"
        )

    def grow(self, text: str, reasoning: str = "") -> None:
        """Have the text and the reasoning so far stored in a moment, whether or not more follows."""
        self.unsaved = self.unsaved[0] + text, self.unsaved[1] + reasoning
        if self.store is not None and self.timer is None:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_at(max(loop.time(), self.saved_at + SAVE_WITHIN_S), self._save)

    def _save(self) -> None:
        self.timer, self.saved_at = None, asyncio.get_running_loop().time()
        try:
            self.flush()
        except StoreError:  # a lock may end before the reply does; `end` tells of it
            self.grow("")

    def flush(self) -> None:
        """Store the text and the reasoning so far."""
        if self.store is not None and self.reply_id is not None and any(self.unsaved):
            self.store.append_text(self.reply_id, *self.unsaved)
            self.unsaved = "", ""

    def unpin(self, event: "Pinned") -> None:
        """Record and report that the engine has dropped a pin."""
        asked = [message for message in self.path if message.turn == event.turn and message.role == "user"]
        if self.store is None or not asked or event.pinned:
            return
        print(
            f"swachat: {one_line(f'Turn {event.turn} is no longer pinned: {event.why}.', LONGEST_SENTENCE)}",
            file=sys.stderr,
        )
        self.store.set_pinned(asked[0].id, event.pinned)

    def end(self, state: Any, done: "TurnDone | None" = None) -> None:
        """Store how it ended."""
        if self.timer is not None:
            self.timer.cancel()
        self.flush()
        if self.store is not None and self.reply_id is not None:
            if done is None:
                self.store.finish_message(self.reply_id, state=state)
            else:
                self.store.finish_message(
                    self.reply_id, state=state, stats=_stats(done), tokens=done.tokens, model=done.model
                )


async def _ask(args: argparse.Namespace, config: "Config", prompt: str, trace: "Recorder | None", chat: _Chat) -> int:
    from chatapp import models
    from chatapp.config import cache_settings, engine_settings, sampling
    from chatapp.headless import Headless
    from chatapp.protocol.commands import Open, Send
    from chatapp.protocol.events import Opened, Pinned, Snapshot, Text, TurnDone, Warned

    spec = args.model or (chat.session.model if chat.session else None) or config.model
    path = models.resolve(spec)
    system = _system(args, config, chat.session)
    said: list[Text] = []
    shown = ShownReply(sys.stdout, thoughts=args.show_thoughts)
    snapshot: Snapshot | None = None
    failed: SwachatError | None = None
    async with Headless(engine_log(), trace) as engine:
        loaded = await engine.load(path, cache_settings(config), engine_settings(config))
        for warning in loaded.warnings:
            print(f"swachat: {one_line(warning, LONGEST_SENTENCE)}", file=sys.stderr)
        saved = _saved_cache(config, chat)
        pinned = [message.turn for message in chat.path if message.pinned]
        state = str(saved) if saved else None
        engine.post(
            Open(system=system, messages=_messages(chat.path, loaded.n_ctx, pinned), pinned=pinned, state=state)
        )
        opened: Opened | None = None
        async for event in engine.stream(Opened):
            if isinstance(event, Opened):
                opened = event
            elif isinstance(event, Pinned):
                chat.unpin(event)
        assert opened is not None  # a stream ends with its last event or an error
        chat.begin(prompt)
        engine.post(Send(turn=chat.turn, text=prompt, sampling=sampling(config)))
        done: TurnDone | None = None
        try:
            async for event in engine.stream(TurnDone):
                match event:
                    case Text():
                        said.append(event)
                        chat.grow(event.text, event.reasoning)
                        if not args.json:
                            shown.show(event)
                    case Snapshot():
                        snapshot = event
                    case Pinned():
                        chat.unpin(event)
                    case Warned():
                        print(f"swachat: {one_line(event.text, LONGEST_SENTENCE)}", file=sys.stderr)
                    case TurnDone():
                        done = event
                    case _:
                        pass
        except (BrokenPipeError, OutputError):
            chat.end("stopped")
            raise
        except SwachatError as error:
            failed = error
        if done is None:
            chat.end("failed")
            raise failed or KeyboardInterrupt
        chat.end("stopped" if done.stop_reason == "cancelled" else "done", done)
        models.remember(str(spec or path))
        if saved is not None:
            await _save_cache(engine, saved)
        if args.json:
            print(json.dumps(_result(said, done, opened, snapshot, loaded.n_ctx, loaded.policy)))
        else:
            shown.end()
    if engine.interrupted:
        return INTERRUPTED
    if done.stop_reason == "window_full" and not said:
        raise UserError("The prompt does not fit in the window.", "Use a larger --ctx, or --policy sinks.")
    return 0


def _saved_cache(config: "Config", chat: _Chat) -> Path | None:
    """Where the conversation's cache is kept between two runs."""
    from chatapp.paths import saved_caches_dir
    from chatapp.store import SavedCaches

    if chat.session is None:
        return None
    caches = SavedCaches(saved_caches_dir(), config.sessions.saved_caches)
    caches.prune()
    return caches.path(chat.session.id)


async def _save_cache(engine: "Headless", path: Path) -> None:
    from chatapp.protocol.commands import Save
    from chatapp.protocol.events import Saved

    engine.post(Save(path=str(path)))
    try:
        await engine.until(Saved)
    except KeyboardInterrupt:  # Ctrl+C stopped this: the reply is stored
        pass
    except SwachatError as error:  # the reply is stored; only the next prefill will be a full one
        print(f"swachat: {error}", file=sys.stderr)


def _system(args: argparse.Namespace, config: "Config", session: "SessionInfo | None") -> str | None:
    if session is not None and args.system is None:
        return session.system
    return config.system


def _messages(path: "list[StoredMessage]", n_ctx: int, pinned: list[int]) -> "list[Message]":
    from chatapp.chat.sent_messages import for_window, message_of

    said = [message_of(message) for message in path if message.role == "user" or _answered(message)]
    return for_window(said, n_ctx, pinned)


def _answered(reply: "StoredMessage") -> bool:
    """False for a reply that was stopped before its first token; True for one that the model ended there."""
    stats = reply.stats or {}
    return bool(reply.text or reply.reasoning or stats.get("reply_tokens") or stats.get("stop_reason") == "end")


def _stats(done: "TurnDone") -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(done.stats), "stop_reason": done.stop_reason}


def _result(
    said: "list[Text]", done: "TurnDone", opened: "Opened", snapshot: "Snapshot | None", n_ctx: int, policy: str
) -> dict[str, Any]:
    """The public JSON object (docs/reference/ask.md). Tokens processed again to resume count as processed."""
    stats = done.stats
    return {
        "reply": "".join(piece.text for piece in said),
        "reasoning": "".join(piece.reasoning for piece in said) or None,
        "prompt_tokens": stats.prompt_tokens,
        "reply_tokens": stats.reply_tokens,
        "reasoning_tokens": stats.reasoning_tokens,
        "reused_tokens": min(stats.reused_tokens, opened.restored_tokens + opened.reused_tokens),
        "processed_tokens": stats.processed_tokens + opened.processed_tokens,
        "evicted_tokens": stats.evicted_tokens,
        "shifts": stats.shifts,
        "n_ctx": n_ctx,
        "n_sink": snapshot.n_sink if snapshot else None,
        "policy": policy,
        "ttft_s": stats.ttft_s,
        "prompt_tok_s": stats.prompt_tok_s,
        "decode_tok_s": stats.decode_tok_s,
        "stop_reason": done.stop_reason,
    }
