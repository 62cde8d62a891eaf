"""What a shop and the author of an own index or embedder test with. Nothing else in the package imports it."""

from __future__ import annotations

import sys

# pytest explains failed assertions only in modules that it rewrote before they were imported.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite(
        "imagesim.testing.embedder_contract",
        "imagesim.testing.index_contract",
        "imagesim.testing.index_reading",
        "imagesim.testing.index_reference",
        "imagesim.testing.index_samples",
        "imagesim.testing.index_writing",
    )
