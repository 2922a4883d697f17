"""Actions on the ledger log: show all of it or only one kind, and write it to a file."""

from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.errors import UserError
from chatapp.presentation.format import nearest, plural
from chatapp.ui.actions.host import ChatHost

if TYPE_CHECKING:
    from chatapp.presentation.ledger.book import LedgerEntry


def ledger(host: ChatHost, words: str = "") -> None:
    """Show the ledger log on the whole screen, all of it or one kind; or `export FILE`. UserError for anything else."""
    from chatapp.presentation.ledger.book import KINDS
    from chatapp.ui.widgets.inspector.ledger_log import LedgerLog

    first, _, rest = words.strip().partition(" ")
    kind, inspector = first.lower(), host.pane.inspector
    log = inspector.query_one(LedgerLog)
    if kind == "export":
        _export(host, log.entries, rest.strip())
    elif kind in ("", "all", *KINDS) and not rest:
        log.show_only("" if kind == "all" else kind)
        section = inspector.section("ledger")
        if not section.zoomed:
            inspector.zoom(section)
    else:
        hint = nearest(kind, (*KINDS, "export"), f"Kinds: {', '.join(KINDS)}; or export FILE.")
        raise UserError(f"The ledger log has no kind {words}.", hint)


def _export(host: ChatHost, entries: "list[LedgerEntry]", name: str) -> None:
    from chatapp.presentation.ledger import export

    if not name:
        raise UserError("The export needs a file name.", "Use /ledger export FILE.csv, or FILE.jsonl for JSON lines.")
    _write(host, entries, export.file_of(name), replace=False)


def _write(host: ChatHost, entries: "list[LedgerEntry]", file: Path, *, replace: bool) -> None:
    from chatapp.presentation.ledger import export

    def write() -> bool:
        try:
            export.write(entries, file, replace=replace)
        except FileExistsError:
            return False
        return True

    def written(done: bool) -> None:
        if done:
            lines = plural(len(entries), "line")
            host.show_notice("info", f"Wrote {lines} of the ledger log to {file}.")
        else:
            _ask_to_replace(host, entries, file)

    host.in_thread(write, written, group=f"export {file}")


def _ask_to_replace(host: ChatHost, entries: "list[LedgerEntry]", file: Path) -> None:
    from chatapp.ui.dialogs.ask import AskYes

    def answered(replace: bool | None) -> None:
        if replace:
            _write(host, entries, file, replace=True)

    host.show_dialog(AskYes(f"{file} already exists.", "Enter replaces it · Esc cancels"), answered)
