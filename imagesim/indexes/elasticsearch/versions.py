"""What the server at hand can do. 8.12 is the oldest that answers a nested ``knn`` query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from imagesim.exceptions import SearchIndexError

Quantisation = Literal["none", "int8", "bbq"]

OLDEST = (8, 12)


@dataclass(frozen=True, slots=True)
class Server:
    """A server's version, as far as it matters here."""

    version: tuple[int, int]

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Server:
        """From the answer to ``GET /``.

        :raises SearchIndexError: if it is too old.
        """
        version = info["version"]
        if version.get("build_flavor") == "serverless":
            return cls((99, 0))
        major, minor = version["number"].split(".")[:2]
        server = cls((int(major), int(minor)))
        if server.version < OLDEST:
            raise SearchIndexError(f"Elasticsearch {version['number']} is too old; 8.12 or later is needed.")
        return server

    def quantisation(self, dims: int) -> Quantisation:
        """The best there is: what the server would choose by itself, where it chooses well."""
        return "bbq" if self.version >= (9, 1) and dims >= 384 else "int8"

    def can(self, quantisation: Quantisation) -> bool:
        """Better binary quantisation is generally available since 8.18 and 9.0."""
        return quantisation != "bbq" or self.version >= (8, 18)

    @property
    def knn_takes_k(self) -> bool:
        """Before, ``k`` is unknown; since, it is the size of the page unless said."""
        return self.version >= (8, 15)

    @property
    def knn_rescores(self) -> bool:
        return self.version >= (8, 18)

    @property
    def knn_skips_filtered(self) -> bool:
        """Unless told not to, walks the graph over passing entries only (ACORN): under narrow filters it finds less."""
        return self.version >= (9, 1)
