"""The Hub's client, imported and made ready: what is wrong with its environment is said here, in one line.

huggingface_hub and httpx read proxies, certificates, time-outs and the token from environment variables and files, and
raise whatever that leads to, some of it while they are imported.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

from chatapp.errors import UserError

_TIMEOUTS = ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT")
_LONGEST_TIMEOUT_S = 86_400
_PROXIES = "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"


def load() -> None:
    """Import the library quietly (no telemetry, no warnings printed over the screen) and open its session.

    Raises UserError, naming the variable, where the environment does not allow that.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read at its import; the user's own setting wins
    for name in _TIMEOUTS:
        _check_timeout(name)
    _check_endpoint(os.environ.get("HF_ENDPOINT", ""))
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    with _session_errors():
        from huggingface_hub import get_session

        get_session()


def token() -> str | None:
    """The user's token, None where there is none. UserError, without the token, where it cannot be read or sent."""
    from huggingface_hub import constants, get_token

    try:
        found = get_token()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not text"
        raise UserError(
            f"The token file {constants.HF_TOKEN_PATH} cannot be read: {reason}.",
            "Correct or delete it, or name another in HF_TOKEN_PATH.",
        ) from error
    if found is not None and not (found.isascii() and found.isprintable()):
        # The library would fail later, and its message would show the token.
        where = "HF_TOKEN" if os.environ.get("HF_TOKEN") else f"The token file {constants.HF_TOKEN_PATH}"
        raise UserError(f"{where} contains characters that are not allowed in a token.", "Set it again.")
    return found


def _check_timeout(name: str) -> None:
    value = os.environ.get(name, "")
    if value and not (value.isascii() and value.isdigit() and 0 < int(value[:9]) <= _LONGEST_TIMEOUT_S):
        raise UserError(
            f"{name} is {value!r}, not a number of seconds.",
            f"Set it to a whole number from 1 to {_LONGEST_TIMEOUT_S}, or unset it.",
        )


def _check_endpoint(value: str) -> None:
    try:
        parts = urlsplit(value)
        valid = not value or (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        valid = False
    if not valid:
        raise UserError(f"HF_ENDPOINT is {value!r}, not the address of a Hub.", "Set it to https://HOST, or unset it.")


@contextmanager
def _session_errors() -> Generator[None]:
    """What opening a session raises: it reads the proxies and the certificates."""
    import httpx2

    try:
        yield
    except ImportError as error:  # of socksio
        raise UserError(
            "A SOCKS proxy is set, and the package for it is not installed.",
            f"Install it with `pip install socksio`, or set {_PROXIES} to an http:// proxy.",
        ) from error
    except OSError as error:
        file = next((os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
        raise UserError(
            f"The certificates{f' in {file}' if file else ''} cannot be used: {error.strerror or error}.",
            "Check SSL_CERT_FILE and SSL_CERT_DIR, or unset them.",
        ) from error
    except (ValueError, httpx2.InvalidURL) as error:
        raise UserError(f"The proxy that is set cannot be used: {error}.", f"Check {_PROXIES}.") from error
