"""The page as text: the template, with all values escaped, and nothing fetched from outside."""

from base64 import b64encode
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import jinja2

from chatapp.page.curves import HEIGHT
from chatapp.page.gather import Page

_FOLDER = Path(__file__).parent


def render(page: Page) -> str:
    """The whole page. Our style and script are named by their hashes; the browser refuses any other."""
    style, script = ((_FOLDER / name).read_text("utf-8") for name in ("page.css", "page.js"))
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(_FOLDER),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    template = environment.get_template("page.html")
    looks = [asdict(table) for table in page.heads.tables]
    return template.render(page=page, looks=looks, style=style, script=script, policy=policy, height=HEIGHT)


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
