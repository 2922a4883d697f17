"""A small app with the cache map alone."""

from collections.abc import Iterable, Mapping

from textual.app import App, ComposeResult

from chatapp.paths import data_dir
from chatapp.presentation.observed import Observed
from chatapp.protocol.codec import AnyEvent
from chatapp.ui.themes import load_theme
from chatapp.ui.widgets.inspector.cache_map import CacheMap
from chatapp.ui.widgets.inspector.section import Section


class MapApp(App[None]):
    """The cache map alone, looked at in one way."""

    def __init__(self, events: Iterable[AnyEvent], view: Mapping[str, str]) -> None:
        super().__init__()
        self.observed = Observed()
        for event in events:
            self.observed.apply(event)
        self.view = view

    def compose(self) -> ComposeResult:
        """One section."""
        yield Section("Cache", CacheMap())

    def on_mount(self) -> None:
        """Draw it once its size is known."""
        theme = load_theme("swachat-dark", [data_dir() / "themes"])
        assert theme is not None
        self.register_theme(theme)
        self.theme = theme.name
        self.map.use_view(self.view)
        self.call_after_refresh(self.draw)

    def feed(self, *events: AnyEvent) -> None:
        """What came, and a drawing of it."""
        for event in events:
            self.observed.apply(event)
            self.map.sort_out(self.observed)
        self.draw()

    @property
    def map(self) -> CacheMap:
        """The map."""
        return self.query_one(CacheMap)

    def on_view_changed(self) -> None:
        """As the inspector does."""
        self.draw()

    def draw(self) -> None:
        """As the inspector does."""
        self.query_one(Section).look(self.observed)
