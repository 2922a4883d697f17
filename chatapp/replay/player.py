"""Playing a trace: position, speed and seeking. No clock of its own, and no screen."""

from collections.abc import Sequence

from chatapp.replay.timeline import Timeline, next_of, previous_of

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Player:
    """The playhead. `position` is one of `Timeline`; `time_s` is its playing time, which may be between two."""

    def __init__(self, timeline: Timeline, position: int = 0, speed: float = 1.0) -> None:
        """Never raises: a position beyond the end means the end."""
        self.timeline = timeline
        self.speed = speed
        self.playing = False
        self.position = 0
        self.time_s = 0.0
        self.go_to(position)

    def toggle(self) -> None:
        """Toggle between play and pause; at the end, play from the beginning."""
        if not self.playing and self.position >= self.timeline.end:
            self.go_to(0)
        self.playing = not self.playing

    def advance(self, elapsed_s: float) -> None:
        """Advance by this much viewing time. Pauses at the end."""
        if not self.playing:
            return
        self.time_s += elapsed_s * self.speed
        self.position = max(self.position, self.timeline.at(self.time_s))
        if self.position >= self.timeline.end:
            self.go_to(self.timeline.end)
            self.playing = False

    def go_to(self, position: int) -> None:
        """Go to a position."""
        self.position = min(max(position, 0), self.timeline.end)
        self.time_s = self.timeline.time_of(self.position)

    def skip(self, seconds: float) -> None:
        """Move by this much playing time, at least by one entry, so that a key always has an effect."""
        target = self.timeline.at(min(max(self.time_s + seconds, 0.0), self.timeline.duration_s))
        step = 1 if seconds > 0 else -1
        self.go_to(max(target, self.position + step) if step > 0 else min(target, self.position + step))

    def go_to_next(self, entries: Sequence[int]) -> bool:
        """Move just after the next of these entries; False where there is none."""
        return self._go(next_of(entries, self.position))

    def go_to_previous(self, entries: Sequence[int]) -> bool:
        """Move just after the one of these entries before the newest; False where there is none."""
        return self._go(previous_of(entries, self.position))

    def change_speed(self, steps: int) -> None:
        """Faster, or slower."""
        nearest = min(range(len(SPEEDS)), key=lambda index: abs(SPEEDS[index] - self.speed))
        self.speed = SPEEDS[min(max(nearest + steps, 0), len(SPEEDS) - 1)]

    def _go(self, position: int | None) -> bool:
        if position is None:
            return False
        self.go_to(position)
        return True
