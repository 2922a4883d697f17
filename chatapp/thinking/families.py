"""How families of models mark their thoughts, as data.

The markers are those of the models' own templates (tests/thinking/test_recognise.py names the templates). Whether the
opening marker is put before the reply or written by the model is not a matter of the family: one template does either,
depending on its variables, so that is read from the opening of each reply (`parser`).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Family:
    """The markers of one family. White space around them belongs to them."""

    name: str
    signs: tuple[tuple[str, ...], ...]
    """What a template of this family has in its text: all the strings of one of these groups."""
    openings: tuple[str, ...]
    """What begins a thought."""
    closings: tuple[str, ...]
    """What ends a thought."""
    ending: str
    """What ends a thought and begins the answer, as the model itself would write it."""
    answer_openings: tuple[str, ...] = ()
    """What may stand between the thought and the answer."""
    answer_closings: tuple[str, ...] = ()
    """What ends an answer that began with such a marker."""
    between: tuple[str, ...] = ()
    """What may stand between two messages of one reply, where a reply can have several: thoughts may follow an answer
    then.
    """

    @property
    def markers(self) -> tuple[str, ...]:
        """All of them."""
        return self.openings + self.closings + self.answer_openings + self.answer_closings + self.between


FAMILIES: Final = (
    Family(
        "harmony",
        signs=(("<|channel|>analysis", "<|message|>"),),
        openings=("<|channel|>analysis<|message|>",),
        closings=("<|end|>",),
        ending="<|end|><|start|>assistant<|channel|>final<|message|>",
        answer_openings=("<|channel|>final<|message|>", "<|channel|>commentary<|message|>", "<|message|>"),
        answer_closings=("<|end|>",),
        between=("<|start|>assistant",),
    ),
    Family(
        "gemma-4",
        signs=(("<|channel>", "<channel|>"),),
        openings=("<|channel>thought",),
        closings=("<channel|>",),
        ending="\n<channel|>",
    ),
    Family(
        "kimi-k3",
        signs=(("<|open|>", "<|close|>", "<|sep|>", "'think'"),),
        openings=("<|open|>think<|sep|>",),
        closings=("<|close|>think<|sep|>",),
        ending="<|close|>think<|sep|><|open|>response<|sep|>",
        answer_openings=("<|open|>response<|sep|>",),
        answer_closings=("<|close|>response<|sep|>",),
    ),
    Family(
        "muse",
        signs=((" to=self<|message|>",),),
        openings=("to=self<|message|>",),
        closings=("<|eom|>",),
        ending="<|eom|><|start|>assistant to=user<|message|>",
        answer_openings=("to=user<|message|>", "<|message|>"),
        answer_closings=("<|eom|>",),
        between=("<|start|>assistant",),
    ),
    Family(
        "solar",
        signs=(("<|begin|>assistant<|think|>", "<|content|>"),),
        openings=("<|think|>",),
        closings=("<|end|>",),
        ending="<|end|><|begin|>assistant<|content|>",
        answer_openings=("<|content|>",),
        answer_closings=("<|end|>",),
        between=("<|begin|>assistant",),
    ),
    Family(
        "apertus",
        signs=(("<|inner_prefix|>", "<|inner_suffix|>"),),
        openings=("<|inner_prefix|>",),
        closings=("<|inner_suffix|>",),
        ending="<|inner_suffix|>",
    ),
    Family(
        "command-moe",
        signs=(("<|START_THINKING|>", "<|START_TEXT|>"),),
        openings=("<|START_THINKING|>",),
        closings=("<|END_THINKING|>",),
        ending="<|END_THINKING|><|START_TEXT|>",
        answer_openings=("<|START_TEXT|>",),
        answer_closings=("<|END_TEXT|>",),
    ),
    Family(
        "command",
        signs=(("<|START_THINKING|>",),),
        openings=("<|START_THINKING|>",),
        closings=("<|END_THINKING|>",),
        ending="<|END_THINKING|><|START_RESPONSE|>",
        answer_openings=("<|START_RESPONSE|>",),
        answer_closings=("<|END_RESPONSE|>",),
    ),
    Family(
        "seed",
        signs=(("<seed:think>",),),
        openings=("<seed:think>",),
        closings=("</seed:think>",),
        ending="</seed:think>",
    ),
    Family(
        "minimax-m3",
        signs=(("</mm:think>",),),
        openings=("<mm:think>",),
        closings=("</mm:think>",),
        ending="</mm:think>",
    ),
    Family(
        "hunyuan-3",
        signs=(("<think{}>", ":opensource"),),
        openings=("<think:opensource>",),
        closings=("</think:opensource>",),
        ending="</think:opensource>",
    ),
    Family(
        "mistral",
        signs=(("[THINK]", "[/THINK]"),),
        openings=("[THINK]",),
        closings=("[/THINK]",),
        ending="[/THINK]",
    ),
    Family(
        "apriel",
        signs=(("[BEGIN FINAL RESPONSE]",),),
        openings=("Here are my reasoning steps:",),
        closings=("[BEGIN FINAL RESPONSE]",),
        ending="\n[BEGIN FINAL RESPONSE]\n",
        answer_closings=("[END FINAL RESPONSE]",),
    ),
    Family(
        "granite",
        signs=(("<think></think>", "<response></response>"),),
        openings=("<think>",),
        closings=("</think>",),
        ending="</think>\n<response>",
        answer_openings=("<response>",),
        answer_closings=("</response>",),
    ),
    Family(
        "think",
        signs=(("</think>",), ("<think>",)),
        openings=("<think>",),
        closings=("</think>",),
        ending="\n</think>\n\n",
    ),
)
"""In the order in which they are looked for: a template that has the signs of two is of the first."""
