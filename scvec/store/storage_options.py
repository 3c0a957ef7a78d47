"""Options of an object store, under the names that Lance and LanceDB know, for Lance and for pyarrow's file systems."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import unquote, urlsplit

from pyarrow import fs

from scvec.errors import InputError, must_be, unknown

Values = Mapping[str, str]

FOR_LANCE: Mapping[str, tuple[str, ...]] = {
    "timeout": (),
    "connect_timeout": (),
    "client_max_retries": (),
    "client_retry_timeout": (),
    "download_retry_count": (),
}
"""Options that only Lance takes: how long and how often it tries."""

S3: Mapping[str, tuple[str, ...]] = {
    "aws_access_key_id": ("access_key_id",),
    "aws_secret_access_key": ("secret_access_key",),
    "aws_session_token": ("session_token", "aws_token", "token"),
    "aws_region": ("region", "aws_default_region", "default_region"),
    "aws_endpoint": ("endpoint", "aws_endpoint_url", "endpoint_url"),
    "aws_virtual_hosted_style_request": ("virtual_hosted_style_request",),
    "aws_skip_signature": ("skip_signature",),
    "allow_http": ("aws_allow_http",),
}
GCS: Mapping[str, tuple[str, ...]] = {
    "google_storage_token": (),
    "google_base_url": ("base_url",),
    "google_skip_signature": ("skip_signature",),
    "allow_http": (),
}
AZURE: Mapping[str, tuple[str, ...]] = {
    "azure_storage_account_name": ("account_name",),
    "azure_storage_account_key": ("account_key", "azure_storage_access_key", "access_key"),
    "azure_storage_client_id": ("client_id", "azure_client_id"),
    "azure_storage_client_secret": ("client_secret", "azure_client_secret"),
    "azure_storage_tenant_id": ("tenant_id", "azure_tenant_id"),
    "azure_storage_endpoint": ("endpoint", "azure_endpoint"),
    "allow_http": (),
}
"""Options by kind of store, and their other names: as the Rust crate object_store has them, which Lance uses.

Azure's shared access signature is none of them, as pyarrow shows it in its errors.
"""

FLAGS = {"allow_http", "aws_skip_signature", "aws_virtual_hosted_style_request", "google_skip_signature"}
"""Options that are true or false."""

NO_EXPIRY = datetime.max - timedelta(days=2)
"""Of a token that the user renews: pyarrow wants one, Lance has none."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """An object store that Lance and pyarrow know: its options, and what makes pyarrow's file system for a URI."""

    options: Mapping[str, tuple[str, ...]]
    make: Callable[[Values, str], fs.FileSystem]


class StorageOptions:
    """How an object store is reached: keys, endpoint, region. Values are not shown, and never written to the store.

    Parameters
    ----------
    uri
        The store's URI.
    given
        Values by name: `S3`, `GCS` or `AZURE`, by the URI, and `FOR_LANCE`; names in any case. What is not given comes
        from the environment.

    Raises
    ------
    InputError
        If an option is unknown or given twice, or if the URI is not that of such a store.
    """

    def __init__(self, uri: str, given: Mapping[str, object] | None = None) -> None:
        self._uri, self._values = uri, _checked(uri, given or {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StorageOptions) and (self._uri, self._values) == (other._uri, other._values)

    def __hash__(self) -> int:
        return hash((self._uri, *sorted(self._values)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(sorted(self._values))})"

    def for_lance(self) -> dict[str, str] | None:
        """Return what Lance and LanceDB take as ``storage_options``; None if there are none."""
        return dict(self._values) or None

    def file_system(self) -> tuple[fs.FileSystem, str]:
        """Return pyarrow's file system and the store's path in it."""
        # pyarrow and Lance read the same variables of the environment but for Azure's.
        kind = _kind_of(self._uri)
        if "://" in self._uri and urlsplit(self._uri).password:
            raise _with_keys(self._uri)  # which Lance does not read, and messages would show
        if kind is not None and (self._values or kind.options is AZURE):
            return kind.make(self._values, self._uri), _path(self._uri)
        found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(self._uri)
        return found


def _checked(uri: str, given: Mapping[str, object]) -> dict[str, str]:
    """Return options under their first names."""
    if not given:
        return {}
    kind = _kind_of(uri)
    if kind is None:
        schemes = ", ".join(f"{one}://" for one in KINDS)
        raise InputError(f"`storage_options` were given for {uri}", f"one of {schemes}", "leave them out")
    known = {**kind.options, **FOR_LANCE}
    named = {other: name for name, others in known.items() for other in (name, *others)}
    found: dict[str, str] = {}
    for key, value in given.items():
        name = named.get(str(key).lower())
        if name is None:
            raise unknown("storage option", str(key), known)
        if name in found:
            raise InputError(f"`storage_options` have {name} twice, under two names", fix="leave one out")
        if value is None:  # as of a variable that is not set; its name would be taken for a value
            raise InputError(f"`storage_options`: {name} is None", "a text", "leave it out, or give its value")
        found[name] = str(value).lower() if isinstance(value, bool) else str(value)
    for name in FLAGS & found.keys():
        _is_set(found, name)
    _check_endpoint(found)
    return found


def _s3(values: Values, uri: str) -> fs.FileSystem:
    region, endpoint = values.get("aws_region"), values.get("aws_endpoint")
    if region is None and endpoint is None and not {"AWS_REGION", "AWS_DEFAULT_REGION"} & os.environ.keys():
        region = fs.resolve_s3_region(urlsplit(uri).netloc)  # as pyarrow does for a URI
    return fs.S3FileSystem(
        access_key=values.get("aws_access_key_id"),
        secret_key=values.get("aws_secret_access_key"),
        session_token=values.get("aws_session_token"),
        anonymous=_is_set(values, "aws_skip_signature"),
        region=region,
        force_virtual_addressing=_is_set(values, "aws_virtual_hosted_style_request"),
        **_address(endpoint),
    )


def _gcs(values: Values, _uri: str) -> fs.FileSystem:
    token = values.get("google_storage_token")
    return fs.GcsFileSystem(
        anonymous=_is_set(values, "google_skip_signature"),
        access_token=token,
        credential_token_expiration=None if token is None else NO_EXPIRY,
        **_address(values.get("google_base_url")),
    )


def _azure(values: Values, uri: str) -> fs.FileSystem:
    known = {**{name: os.environ[name.upper()] for name in AZURE if os.environ.get(name.upper())}, **values}
    host = urlsplit(uri).netloc.rpartition("@")[2] if "@" in uri else ""
    account = known.get("azure_storage_account_name") or host.partition(".")[0]
    if not account:
        raise InputError(
            f"{uri} names no account",
            "azure_storage_account_name in `storage_options`, or AZURE_STORAGE_ACCOUNT_NAME in the environment",
            "give it",
        )
    return fs.AzureFileSystem(
        account,
        account_key=known.get("azure_storage_account_key"),
        client_id=known.get("azure_storage_client_id"),
        client_secret=known.get("azure_storage_client_secret"),
        tenant_id=known.get("azure_storage_tenant_id"),
        **_azure_address(known.get("azure_storage_endpoint"), account),
    )


def _azure_address(endpoint: str | None, account: str) -> dict[str, str]:
    """Return pyarrow's address of an endpoint, in which the account is the first part of the host, or the path."""
    if endpoint is None:
        return {}
    host = urlsplit(endpoint).netloc
    authority = host.removeprefix(account) if host.startswith(f"{account}.") else host
    scheme = urlsplit(endpoint).scheme
    return {
        "blob_storage_authority": authority,
        "dfs_storage_authority": authority.replace(".blob.", ".dfs.", 1),
        "blob_storage_scheme": scheme,
        "dfs_storage_scheme": scheme,
    }


KINDS: Mapping[str, _Kind] = {
    "s3": _Kind(S3, _s3),
    "gs": _Kind(GCS, _gcs),
    "az": _Kind(AZURE, _azure),
    "abfss": _Kind(AZURE, _azure),
}
"""By the scheme of a URI."""


def _kind_of(uri: str) -> _Kind | None:
    scheme, colon, _ = uri.partition("://")
    return KINDS.get(scheme) if colon else None


def _path(uri: str) -> str:
    """Return the path of a URI: the bucket or container, and what follows."""
    parts = urlsplit(uri)
    if parts.query or parts.password:
        raise _with_keys(uri)
    return unquote(f"{parts.netloc.partition('@')[0]}{parts.path}".rstrip("/"))


def _with_keys(uri: str) -> InputError:
    where = f"{urlsplit(uri).scheme}://{urlsplit(uri).hostname}"
    return InputError(
        f"{where} has options or keys in its URI", fix="give them as `storage_options`, or in the environment"
    )


def _is_set(values: Values, name: str) -> bool:
    value = values.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise must_be("storage_options", f"true or false for {name}", value)
    return value in ("true", "1")


def _address(endpoint: str | None) -> dict[str, str]:
    """Return pyarrow's options for an endpoint."""
    if endpoint is None:
        return {}
    parts = urlsplit(endpoint)
    return {"scheme": parts.scheme, "endpoint_override": f"{parts.netloc}{parts.path}".rstrip("/")}


def _check_endpoint(values: Values) -> None:
    for name in ("aws_endpoint", "google_base_url", "azure_storage_endpoint"):
        if name not in values:
            continue
        scheme = urlsplit(values[name]).scheme
        if scheme not in ("http", "https"):
            raise must_be("storage_options", f"a URL for {name}, as https://host", values[name])
        if scheme == "http" and not _is_set(values, "allow_http"):
            raise InputError(
                f"`storage_options`: {name} is {values[name]}, which is not encrypted",
                "https",
                'allow_http="true" if that is meant',
            )
