"""The text in the cache is what the template writes for what is left of the conversation, whatever was done before.

The slow, obvious twin renders the whole conversation at once, by Jinja.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chatapp.engine.native.llama import Model
from chatapp.engine.native.sampler import Sampler
from chatapp.engine.template.fallbacks import CHATML
from chatapp.engine.template.sandbox import SandboxedTemplate
from chatapp.protocol.events import Opened, Snapshot, TurnDone
from chatapp.protocol.values import CacheRequest, Message
from tests.support.engine.tiny_session import TinySession, tiny_session
from tests.support.tiny_models import tiny

SYSTEM = "Be brief."


@dataclass(frozen=True)
class Kind:
    """A template, and the head that it writes where the first message is gone."""

    source: str
    head: str


FOLDED = (
    "{% if messages[0]['role'] == 'system' %}{% set head = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set head = '' %}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + (head if loop.first else '') + m['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INST = (
    "{% if messages[0]['role'] == 'system' %}{% set head = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set head = '' %}{% endif %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '<|im_start|>[INST] ' + (head if loop.first else '') + m['content'] + ' [/INST]' }}"
    "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
)
PLAIN = (
    "{% for m in messages %}{{ m['role'] | capitalize + ':' + m['content'] + '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
KINDS = {
    "a system message": Kind(CHATML, f"<|im_start|>system\n{SYSTEM}<|im_end|>\n"),
    "a system prompt in the first message": Kind(FOLDED, f"<|im_start|>user\n{SYSTEM}\n\n<|im_end|>\n"),
    "no system prompt taken": Kind(
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHATML,
        f"<|im_start|>user\n{SYSTEM}\n\n<|im_end|>\n",
    ),
    "no opening of a reply": Kind(INST, f"<|im_start|>[INST] <<SYS>>\n{SYSTEM}\n<</SYS>>\n\n [/INST]"),
    "no special tokens": Kind(PLAIN, f"System:{SYSTEM}\n\n"),
}


@dataclass
class Chat:
    """A conversation, and what was said in it."""

    made: TinySession
    kind: Kind
    said: dict[int, tuple[Message, Message]] = field(default_factory=dict[int, tuple[Message, Message]])

    @property
    def text(self) -> str:
        """What the cache holds, with the markup that is decoded with the next message; without the BOS of the model."""
        session, model = self.made.session, self.made.model
        tokens = session.kv.ledger.tokens
        assert model.bos == tokens[0]
        text = b"".join(model.piece(token, special=True) for token in tokens[1:]).decode(errors="replace")
        return text + session._branches.transcript.pending  # pyright: ignore[reportPrivateUsage]  (what is not shown yet)

    def send(self, text: str, tokens: int = 6) -> None:
        self._take(max(self.said, default=0) + 1, text, lambda turn: self.made.send(turn, text, tokens))

    def again(self) -> None:
        turn = max(self.said)
        self._take(turn, self.said[turn][0].text, lambda turn: self.made.again(turn, 6, seed=9))

    def _take(self, turn: int, text: str, act: Callable[[int], str]) -> None:
        reply = act(turn)
        done = self.made.last(TurnDone)
        self.said[turn] = (
            Message(turn=turn, role="user", text=text),
            Message(turn=turn, role="assistant", text=reply, tokens=done.tokens, model=done.model),
        )

    def undo(self) -> None:
        self.made.session.undo(max(self.said))
        del self.said[max(self.said)]

    def open(self, state: Path | None = None, pinned: Sequence[int] = ()) -> Opened:
        self.made.events.clear()
        self.made.session.open(SYSTEM, [each for both in self.said.values() for each in both], state, pinned)
        return self.made.last(Opened)

    def check(self) -> None:
        """The text is the twin's for the turns that are whole in the cache, in their order there."""
        ledger = self.made.session.kv.ledger
        assert self.made.session.kv.mismatch() is None
        order = [run.turn for run in ledger.runs if run.turn]
        there = list(dict.fromkeys(order))
        assert all(not run.lost for run in ledger.runs), "this test takes whole turns only"
        rows = [(each.role, each.text) for turn in there for each in self.said[turn]]
        if there[:1] == [min(self.said)]:
            expected = self.whole([("system", SYSTEM), *rows])
        else:
            before = [("user", "x"), ("assistant", "y")]
            expected = self.kind.head + self.whole([*before, *rows]).removeprefix(self.whole(before))
        assert self.text == expected

    def whole(self, rows: list[tuple[str, str]]) -> str:
        messages = [{"role": role, "content": text} for role, text in rows]
        if self.kind is KINDS["no system prompt taken"] and rows[0][0] == "system":
            (_, system), (_, first), *rest = rows
            return self.whole([("user", f"{system}\n\n{first}"), *rest])
        return SandboxedTemplate(self.kind.source).render(messages, reply=False, variables={})


@contextmanager
def chat_of(kind: Kind, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Chat]:
    def brought(_: Model) -> str:
        return kind.source

    monkeypatch.setattr(Model, "chat_template", brought)
    with tiny_session(tiny("llama", folder), CacheRequest(n_ctx=256, micro_batch=32)) as made:
        chat = Chat(made, kind)
        chat.open()
        yield chat


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.mark.parametrize("name", KINDS)
def test_after_anything_that_can_be_done(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_of(KINDS[name], folder, monkeypatch) as chat:
        for text in ("one and two", "", "and what of the others"):
            chat.send(text)
            chat.check()
        chat.again()
        chat.check()
        chat.undo()
        chat.check()
        chat.send("they said so")
        chat.check()

        live = chat.made.session.kv.ledger.tokens
        chat.made.session.save(tmp_path / "state")
        chat.made.session.open(None, [])
        assert not chat.open().restored_tokens
        chat.check()
        assert chat.made.session.kv.ledger.tokens == live, "a conversation has the tokens that it had"
        chat.made.session.open(None, [])
        assert chat.open(tmp_path / "state").restored_tokens
        chat.check()

        while 1 in chat.made.session.kv.ledger.in_window:
            chat.send(f"number {len(chat.said)} of all of them and some more words of it")
            chat.check()
        chat.made.session.recall([1])
        chat.check()
        chat.send("and again")
        chat.check()
        chat.open()
        chat.check()
        chat.made.session.open(None, [])
        chat.open(pinned=[2])
        chat.check()
        while len(chat.said) > 1:
            chat.undo()
            if chat.made.session.kv.ledger.turns:
                chat.check()
        assert chat.made.last(Snapshot).mismatch is None


def test_a_reply_that_the_model_opened_itself_is_not_opened_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stored reply is what the model wrote, with its special tokens: its words alone would be another one."""
    source = CHATML.replace("m['content'] +", "('<|im_start|>' if m['role'] == 'assistant' else '') + m['content'] +")
    with chat_of(Kind(source, ""), folder, monkeypatch) as chat:
        model = chat.made.model
        (opens,) = model.tokenize("<|im_start|>", special=True)
        written = [opens, *model.tokenize("the words", special=False)]
        script = iter(written)

        def next_of_script(*_: object) -> int:
            return next(script, model.tokenize("<|im_end|>", special=True)[0])

        monkeypatch.setattr(Sampler, "sample", next_of_script)
        chat.send("one", 30)
        assert chat.said[1][1].text == "the words"
        expected = chat.whole([("system", SYSTEM), ("user", "one"), ("assistant", "the words")])
        assert chat.text == expected
        live = chat.made.session.kv.ledger.tokens
        chat.made.session.open(None, [])
        chat.open()
        assert chat.made.session.kv.ledger.tokens == live
        assert chat.text == expected


def test_tokens_of_another_model_are_not_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are numbers that mean other words there; the text is tokenized then. Nor are numbers that are no tokens."""
    with chat_of(KINDS["a system message"], folder, monkeypatch) as chat:
        chat.send("one")
        asked, reply = chat.said[1]
        plain = Message(turn=1, role="assistant", text=reply.text)
        tokens: list[tuple[int, ...]] = []
        for other in (
            plain,
            Message(turn=1, role="assistant", text=reply.text, tokens=reply.tokens[::-1], model="another"),
            Message(turn=1, role="assistant", text=reply.text, tokens=b"\xff\xff\xff\xff", model=reply.model),
            Message(turn=1, role="assistant", text=reply.text, tokens=b"\0\0\0", model=reply.model),
        ):
            chat.made.session.open(None, [])
            chat.made.session.open(SYSTEM, [asked, other], None)
            tokens.append(chat.made.session.kv.ledger.tokens)
        assert len(set(tokens)) == 1
