"""The Hugging Face Hub, through huggingface_hub: what a repository holds, and a file's bytes from any offset.

Files are streamed here, over the library's own session, not with its `hf_hub_download`: in the pinned version
that deletes what a broken download had fetched, so the next run could not resume it.
"""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from chatapp.errors import ModelError, SwachatError, UserError
from chatapp.models import hub_client
from chatapp.models.spec import HubSpec


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository at one commit. `hash_name` is "sha256", or "sha1" (git's own) outside LFS."""

    name: str
    size_bytes: int
    hash_name: str
    hash_hex: str
    url: str

    def hash_prefix(self) -> bytes:
        """What is hashed before the file's bytes."""
        return b"" if self.hash_name == "sha256" else f"blob {self.size_bytes}\0".encode()


class CutShort(Exception):
    """The connection ended before the file did."""


def list_files(spec: HubSpec) -> dict[str, RemoteFile]:
    """The files of the repository that the Hub gives a size and a hash for, by name. Raises as `hub_errors` says."""
    hub_client.load()
    hub_client.token()
    from huggingface_hub import HfApi, constants, hf_hub_url

    with hub_errors(spec):
        api = HfApi(library_name="swachat")
        try:
            info = api.model_info(spec.repo, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            files: dict[str, RemoteFile] = {}
            for entry in info.siblings or []:
                name, size, found = entry.rfilename, entry.size, entry.blob_id
                if entry.lfs is not None:
                    size, found = entry.lfs.size, entry.lfs.sha256
                if size is not None and found is not None:
                    url = hf_hub_url(spec.repo, name, revision=info.sha, endpoint=api.endpoint)
                    files[name] = _checked(name, int(size), found, url)
            return files
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, OSError):  # a BadRequestError is a ValueError too
                raise
            raise ModelError(
                f"{spec} cannot be pulled: {api.endpoint} did not answer like the Hub.",
                "Check HF_ENDPOINT, and whether a proxy or a login page answers instead.",
            ) from error


def _checked(name: str, size: int, found: str, url: str) -> RemoteFile:
    """Raises ValueError for an invalid size or hash: both come from the network."""
    kinds = {64: "sha256", 40: "sha1"}
    if size < 0 or not re.fullmatch("[0-9a-f]+", found) or len(found) not in kinds:
        raise ValueError(found)
    return RemoteFile(name, size, kinds[len(found)], found, url)


@contextmanager
def open_at(file: RemoteFile, start: int) -> Generator[tuple[int, Iterator[bytes]], None, None]:
    """The offset at which the response begins (0 where the server cannot resume), and the bytes from there.

    Raises CutShort where the connection breaks, which is worth a retry, and the library's own errors.
    """
    import httpx2
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import (
        build_hf_headers,  # pyright: ignore[reportUnknownVariableType]  # for a bare `dict` among its parameters
        hf_raise_for_status,
    )

    # Compressed bytes could be neither counted nor resumed.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    headers = build_hf_headers(library_name="swachat", headers=headers)
    try:
        with get_session().stream(
            "GET", file.url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
        ) as answer:
            hf_raise_for_status(answer)
            resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            yield (start if resumed else 0), answer.iter_bytes()
    except (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError) as error:
        raise CutShort(str(error) or type(error).__name__) from error


@contextmanager
def hub_errors(spec: HubSpec) -> Generator[None, None, None]:
    """Report Hub failures in one line: UserError for what the user asked for, ModelError for the rest."""
    import httpx2
    from huggingface_hub import constants, errors

    host = urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT
    try:
        yield
    except SwachatError:
        raise
    except errors.OfflineModeIsEnabled as error:
        raise UserError(
            f"{spec} cannot be pulled: HF_HUB_OFFLINE is set.", "Unset it, or choose from `swachat models list`."
        ) from error
    except errors.GatedRepoError as error:
        raise UserError(
            f"{spec} is gated on {host}.", "Accept the terms on its page there, then set HF_TOKEN."
        ) from error
    except errors.HfHubHTTPError as error:
        raise _refused(spec, host, error.response.status_code) from error
    except (httpx2.RequestError, httpx2.InvalidURL, CutShort) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{spec} cannot be pulled: {host} cannot be reached ({reason}).",
            "Check the network, HF_ENDPOINT and the proxy, then pull again: the download resumes.",
        ) from error
    except OSError as error:
        raise ModelError(
            f"{spec} cannot be saved: {error.filename or 'the models folder'}: {error.strerror or error}.",
            "Fix that, then pull again: the download resumes.",
        ) from error


def _refused(spec: HubSpec, host: str, status: int) -> SwachatError:
    match status:
        case 401 | 403 | 404:
            return UserError(
                f"{spec} does not exist on {host}, or is private (HTTP {status}).",
                "Check the spelling; for a private repository set HF_TOKEN.",
            )
        case _:
            return ModelError(f"{spec} cannot be pulled: {host} answered HTTP {status}.", "Try again later.")
