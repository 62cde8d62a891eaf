"""The exceptions of the app. Each message names the bad value and says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _


def format_choices(values: Iterable[object], both: str = "%(some)s or %(last)s", nothing: str = "nothing") -> str:
    """Return the accepted values as ``'a', 'b' or 'c'``, for an error message."""
    *some, last = [repr(value) for value in sorted(values, key=str)] or [nothing]
    return both % {"some": ", ".join(some), "last": last} if some else last


def local_choices(values: Iterable[object]) -> str:
    """Return :func:`format_choices` in the active language, for a translated message."""
    return format_choices(values, _("%(some)s or %(last)s"), _("nothing"))


def mask_credentials(text: object) -> str:
    """Return ``text`` with the user and password of every URL in it replaced: ``https://***@host``."""
    return re.sub(r"://[^/\s]*@", "://***@", str(text))


def migrate_hint(error: Exception) -> str:
    """Return what to do if ``error`` is about a missing table or column of this app; otherwise empty."""
    text = str(error)
    missing = "no such (table|column)|no column named|does(n't| not) exist|Unknown column"
    if "imagesim_" in text and re.search(missing, text):
        if hint := tenant_hint():
            return hint
        named = text.partition("\n")[0]
        labels = (app.label for app in apps.get_app_configs() if "imagesim." in app.name)
        label = next((label for label in labels if f"{label}_" in named), "imagesim")
        return f"The tables of {label} are missing or older than its code: run `manage.py migrate {label}` first."
    return ""


def tenant_hint() -> str:
    """Return what to do in the public schema of django-tenants if only those of tenants have tables of this app;
    otherwise empty."""
    from imagesim.database import lacks_tables  # needs Django's models, which others that raise errors do without

    if not lacks_tables():
        return ""
    return (
        "The public schema has no tables and no index of imagesim, because each tenant has its own: "
        "use `manage.py all_tenants_command --no-public` or `tenant_command`."
    )


def with_migrate_hint(error: Exception) -> str:
    """Return the first line of a database error, without the statement, and what :func:`migrate_hint` says."""
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    hint = migrate_hint(error)
    return f"{reason}. {hint}" if hint else reason


class ImagesimError(Exception):
    """The base class. ``code`` is stable and meant for programs, the message for people."""

    code = "error"


class ConfigurationError(ImagesimError, ImproperlyConfigured):
    """The settings or a registration are wrong."""

    code = "configuration"


class NotRegistered(ImagesimError):
    """The model (or the item's model) was never registered."""

    code = "not_registered"


class BadImage(ImagesimError):
    """The bytes are not an acceptable image. Retrying does not help."""

    code = "bad_image"


class ImageTooLarge(BadImage):
    """The picture exceeds the limit on bytes or on pixels."""

    code = "image_too_large"


class UnsupportedFormat(BadImage):
    """The picture's format is not accepted."""

    code = "unsupported_format"


class PhotoGone(ImagesimError):
    """The photo of a token has expired, or newer photos have replaced it."""

    code = "photo_gone"


class Busy(ImagesimError):
    """The process is working on as many photos as it may at a time. Retry later."""

    code = "busy"


def busy() -> Busy:
    """Return the error for a photo that cannot be processed now."""
    return Busy(_("The server is busy with other photos; try again in a moment."))


class DeadlineExceeded(ImagesimError):
    """The request took longer than ``REQUEST_SECONDS`` and was aborted. Retrying later may help."""

    code = "deadline_exceeded"


class BadQuery(ImagesimError):
    """The query cannot be answered: an unknown filter, a wrong type, an empty text.

    ``field`` names the argument at fault, if there is one.
    """

    code = "bad_query"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotIndexed(ImagesimError):
    """The item has no embedding yet, so nothing can be compared with it."""

    code = "not_indexed"


class CircuitOpen(ImagesimError):
    """A service failed repeatedly and is not called for a few seconds. Retry later."""

    code = "circuit_open"


class AlreadyRunning(ImagesimError):
    """A job of this kind is running in another process."""

    code = "already_running"


class EmbedderError(ImagesimError):
    """The embedder cannot be loaded or cannot embed."""

    code = "embedder"


class SearchIndexError(ImagesimError):
    """The base class of errors of an index."""

    code = "index"


class IndexUnavailable(SearchIndexError):
    """The index cannot be reached. Retrying may help."""

    code = "index_unavailable"


class AccessRefused(SearchIndexError):
    """The index refuses the credentials. With other credentials, the same request can succeed."""

    code = "access_refused"


class QueryTimeout(SearchIndexError):
    """The index answers, but this query took too long."""

    code = "query_timeout"


class IndexMissing(SearchIndexError):
    """No index is active yet: it has to be built first."""

    code = "index_missing"


def index_missing(name: str, backing_index: str | None) -> IndexMissing:
    """Return the error for a missing active index of ``name``, or for a missing backing index."""
    if backing_index is None:
        advice = "build it with imagesim_rebuild or imagesim_sync."
        return IndexMissing(tenant_hint() or f"No index {name!r} is active yet; {advice}")
    return IndexMissing(f"There is no index {backing_index!r} (any more); build one with imagesim_rebuild.")


class ModelMismatch(SearchIndexError):
    """The index holds another model's vectors, so results would be wrong."""

    code = "model_mismatch"


class FilterNotIndexed(BadQuery, SearchIndexError):
    """The filter was declared after the index was made. The query is valid, and can be answered after a rebuild."""
