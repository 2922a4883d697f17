"""What is done with the ledger log on the main screen: see it whole or one kind alone, and write it to a file."""

from pathlib import Path
from typing import TYPE_CHECKING

from textual import work

from chatapp.errors import SwachatError, UserError
from chatapp.presentation.format import nearest, plural
from chatapp.text import visible
from chatapp.ui.actions.looking import LookingActions

if TYPE_CHECKING:
    from chatapp.presentation.ledger.book import Entry


class LedgerActions(LookingActions):
    """A part of InspectingActions."""

    def action_zoom(self, panel: str = "") -> None:
        """Give a panel the whole screen, or its place again."""
        raise NotImplementedError

    def action_ledger(self, words: str = "") -> None:
        """The ledger log on the whole screen, all of it or one kind; or `export FILE`. UserError for anything else."""
        from chatapp.presentation.ledger.book import KINDS
        from chatapp.ui.widgets.inspector.ledger_log import LedgerLog

        first, _, rest = words.strip().partition(" ")
        kind, log = first.lower(), self._inspector.query_one(LedgerLog)
        if kind == "export":
            self._export(log.entries, rest.strip())
        elif kind in ("", "all", *KINDS) and not rest:
            log.show_only("" if kind == "all" else kind)
            if not self._inspector.section("ledger").zoomed:
                self.action_zoom("ledger")
        else:
            hint = nearest(kind, (*KINDS, "export"), f"There are: {', '.join(KINDS)}; or export FILE.")
            raise UserError(f"The ledger has no {words}.", hint)

    def _export(self, entries: "list[Entry]", name: str) -> None:
        from chatapp.presentation.ledger import export

        if not name:
            raise UserError("Say where to.", "/ledger export FILE.csv, or FILE.jsonl for JSON lines.")
        self._write_ledger(entries, export.file_of(name), replace=False)

    @work(thread=True, group="export")
    def _write_ledger(self, entries: "list[Entry]", file: Path, *, replace: bool) -> None:
        from chatapp.presentation.ledger import export

        try:
            export.write(entries, file, replace=replace)
        except FileExistsError:
            self.app.call_from_thread(self._ask_to_replace, entries, file)
        except SwachatError as error:
            self.app.call_from_thread(self.show_notice, "error", str(error))
        else:
            lines = plural(len(entries), "line")
            self.app.call_from_thread(self.show_notice, "info", f"{lines} of the ledger are in {visible(str(file))}.")

    def _ask_to_replace(self, entries: "list[Entry]", file: Path) -> None:
        from chatapp.ui.dialogs.ask import AskYes

        def answered(replace: bool | None) -> None:
            if replace:
                self._write_ledger(entries, file, replace=True)

        self.app.push_screen(
            AskYes(f"{file} is there already.", "Enter replaces it · Esc leaves it as it is"), answered
        )
