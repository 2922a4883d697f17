"""The store against a plain Python model, over any order of steps, restarts included."""

import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chatapp.store import FinalState, Place, Role, Store

WORDS = ("apple", "bear", "cloud")
TEXTS = st.lists(st.sampled_from((*WORDS, "\n", '"', "漢", "\0")), max_size=4).map(" ".join)


@dataclass
class Node:
    """One message as the model has it."""

    parent: int | None
    role: Role
    text: str
    state: str


@dataclass
class Talk:
    """One conversation as the model has it."""

    name: str | None
    nodes: dict[int, Node] = field(default_factory=dict[int, Node])
    head: int | None = None

    def path(self) -> list[int]:
        found: list[int] = []
        at = self.head
        while at is not None:
            found.append(at)
            at = self.nodes[at].parent
        return found[::-1]


class TreeMachine(RuleBasedStateMachine):
    """Every step is done to the store and to the model; afterwards they must tell the same."""

    def __init__(self) -> None:
        super().__init__()
        self.talks: dict[int, Talk] = {}
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store.open(self.folder / "chat.db")

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule()
    def begin(self) -> None:
        made = self.store.new_session(model="m", system=None, settings={})
        assert made.id not in self.talks
        self.talks[made.id] = Talk(None)

    @precondition(lambda self: self.talks)
    @rule(
        data=st.data(),
        role=st.sampled_from(["user", "assistant"]),
        text=TEXTS,
        state=st.sampled_from(["done", "stopped", "failed"]),
    )
    def add(self, data: st.DataObject, role: Role, text: str, state: FinalState) -> None:
        session, talk = data.draw(st.sampled_from(list(self.talks.items())))
        parent = data.draw(st.sampled_from([None, *talk.nodes]))
        made = self.store.add_message(session, parent_id=parent, turn=1, role=role, text=text, state=state)
        talk.nodes[made] = Node(parent, role, text, state)
        talk.head = made

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def add_growing(self, data: st.DataObject) -> None:
        session, talk = data.draw(st.sampled_from(list(self.talks.items())))
        parent = data.draw(st.sampled_from([None, *talk.nodes]))
        made = self.store.add_message(session, parent_id=parent, turn=2, role="assistant", state="growing")
        talk.nodes[made] = Node(parent, "assistant", "", "growing")
        talk.head = made

    def growing(self) -> dict[int, Node]:
        return {
            number: node
            for talk in self.talks.values()
            for number, node in talk.nodes.items()
            if node.state == "growing"
        }

    @precondition(lambda self: self.growing())
    @rule(data=st.data(), text=TEXTS)
    def append(self, data: st.DataObject, text: str) -> None:
        number, node = data.draw(st.sampled_from(list(self.growing().items())))
        self.store.append_text(number, text)
        node.text += text

    @precondition(lambda self: self.growing())
    @rule(data=st.data(), state=st.sampled_from(["done", "stopped", "failed"]))
    def finish(self, data: st.DataObject, state: FinalState) -> None:
        number, node = data.draw(st.sampled_from(list(self.growing().items())))
        self.store.finish_message(number, state=state, stats={"tokens": len(node.text)})
        node.state = state

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def move_head(self, data: st.DataObject) -> None:
        session, talk = data.draw(st.sampled_from(list(self.talks.items())))
        talk.head = data.draw(st.sampled_from([None, *talk.nodes]))
        self.store.set_head(session, talk.head)

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def rename(self, data: st.DataObject) -> None:
        session, talk = data.draw(st.sampled_from(list(self.talks.items())))
        talk.name = data.draw(st.sampled_from([None, f"talk {session}"]))
        self.store.rename(session, talk.name)

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(list(self.talks)))
        self.store.delete_session(session)
        del self.talks[session]

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.folder / "chat.db")
        for node in self.growing().values():
            node.state = "stopped"

    @rule()
    def look_from_another_store(self) -> None:
        """A second store on the same file sees the same texts, and does not disturb a growing reply."""
        with Store.open(self.folder / "chat.db") as other:
            for session, talk in self.talks.items():
                assert [(m.id, m.text) for m in other.path(session)] == [(n, talk.nodes[n].text) for n in talk.path()]

    @invariant()
    def same_conversations(self) -> None:
        found = {info.id: info for info in self.store.sessions()}
        assert found.keys() == self.talks.keys()
        for session, talk in self.talks.items():
            info = found[session]
            first = next((node.text for node in talk.nodes.values() if node.role == "user"), "")
            assert (info.name, info.head_id, info.n_messages) == (talk.name, talk.head, len(talk.nodes))
            assert info.title == " ".join(first.split())
            assert not self.store.notices

    @invariant()
    def same_trees(self) -> None:
        for session, talk in self.talks.items():
            expected = [(number, node.parent, node.role, node.text, node.state) for number, node in talk.nodes.items()]
            tree = self.store.tree(session)
            assert [(m.id, m.parent_id, m.role, m.text, m.state) for m in tree] == expected
            assert [m.id for m in self.store.path(session)] == talk.path()
            places: dict[Place, tuple[int, ...]] = {}
            for number, node in talk.nodes.items():
                place = (node.parent, node.role)
                places[place] = (*places.get(place, ()), *([number] if node.text else []))
            assert all(self.store.beside(session, place) == beside for place, beside in places.items())
            assert self.store.forks(session) == {place: ids for place, ids in places.items() if len(ids) > 1}

    @invariant()
    def same_search(self) -> None:
        """Each ended message is found by its words; a growing one may be found by the words it began with."""
        for word in WORDS:
            found = {hit.message_id for hit in self.store.search(None, word, limit=1000)}
            having = {
                n: node for talk in self.talks.values() for n, node in talk.nodes.items() if begins(word, node.text)
            }
            assert found <= having.keys()
            assert {number for number, node in having.items() if node.state != "growing"} <= found


def begins(word: str, text: str) -> bool:
    """Whether a word of `text` begins with `word`: pieces such as "apple" and "bear" become one word."""
    return any(found.startswith(word) for found in re.findall(r"\w+", text))


TestTree = TreeMachine.TestCase
TestTree.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
