"""The contract of ``imagesim/indexes/__init__.py`` as a test suite, for your own index too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from django.db import connections

from imagesim.exceptions import ConfigurationError, IndexMissing, ModelMismatch
from imagesim.indexes import BaseIndex
from imagesim.testing.index_filters import FacetContract
from imagesim.testing.index_history import HistoryContract
from imagesim.testing.index_japanese import JapaneseContract
from imagesim.testing.index_languages import LanguageContract
from imagesim.testing.index_mentions import MentionContract
from imagesim.testing.index_numbers import NumberContract
from imagesim.testing.index_reading import ReadingContract
from imagesim.testing.index_samples import DIMS, META, axis, concurrent, entry, keys
from imagesim.testing.index_text import TextContract
from imagesim.testing.index_writing import WritingContract
from imagesim.types import Entry, IndexMeta, Query, Removal


class IndexContract(
    WritingContract,
    ReadingContract,
    FacetContract,
    TextContract,
    LanguageContract,
    JapaneseContract,
    MentionContract,
    NumberContract,
    HistoryContract,
):
    """Subclass it, name the subclass ``Test…``, override ``make_index`` and set ``approximate``."""

    approximate: bool

    # Several processes and threads.

    @concurrent
    def test_writes_of_one_process_are_found_by_another(
        self, make_index: Callable[[], BaseIndex], index: BaseIndex
    ) -> None:
        other = make_index()
        index.promote(index.create(META))
        for version in range(1, 6):
            index.write([entry("x", axis(version), version=version), entry(f"n{version}", axis(0))])
            index.refresh()
            assert keys(other, Query(axis(version), limit=1)) == ["x"]
            assert other.count() == version + 1
        index.write([Removal("shop.product:x", 9)])
        index.refresh()
        assert "x" not in keys(other, Query(axis(5)))

    @concurrent
    def test_other_processes_follow_a_swap(self, make_index: Callable[[], BaseIndex], index: BaseIndex) -> None:
        other = make_index()
        first = index.create(META)
        index.promote(first)
        index.write([entry("old", axis(0))])
        index.refresh()
        assert keys(other, Query(axis(0))) == ["old"]
        second = index.create(META)
        index.write([entry("new", axis(0))], backing_index=second)
        index.refresh(second)
        index.promote(second)
        index.drop(first)
        assert keys(other, Query(axis(0))) == ["new"]
        other.write([entry("newer", axis(1))])
        other.refresh()
        assert keys(index, Query(axis(1), limit=1)) == ["newer"]

    @concurrent
    @pytest.mark.parametrize("dims", [DIMS, DIMS + 3])
    def test_no_wrong_answer_during_a_swap_to_another_model(
        self, make_index: Callable[[], BaseIndex], index: BaseIndex, dims: int
    ) -> None:
        other = make_index()
        vector = np.eye(dims, dtype=np.float32)[1]
        index.promote(index.create(META))
        index.write([entry("old", axis(0))])
        index.refresh()
        assert keys(other, Query(axis(0), fingerprint=other.meta().fingerprint)) == ["old"]
        newer = IndexMeta("newer-model", dims, META.filters)
        second = index.create(newer)
        index.write([entry("new", vector)], backing_index=second)
        index.refresh(second)
        index.promote(second)
        with pytest.raises(ModelMismatch):
            other.search([Query(axis(0), fingerprint=META.fingerprint)])
        assert keys(other, Query(vector, fingerprint=other.meta().fingerprint)) == ["new"]

    @concurrent
    def test_an_index_beside_the_active_one_answers_for_itself(
        self, make_index: Callable[[], BaseIndex], index: BaseIndex
    ) -> None:
        other = make_index()
        first, second = index.create(META), index.create(IndexMeta("newer-model", DIMS, META.filters))
        index.promote(first)
        index.write([entry("old", axis(0)), entry("both", axis(1))])
        index.write([entry("new", axis(0), filters={"brand": "b"}), entry("both", axis(1))], backing_index=second)
        index.refresh()
        index.make_searchable(second)
        for each in (index, other, index):
            assert index.active() == first
            assert keys(each, Query(axis(0), fingerprint="test-model")) == ["old", "both"]
            assert keys(each, Query(axis(0), fingerprint="newer-model"), second) == ["new", "both"]
            assert (each.meta().fingerprint, each.meta(second).fingerprint) == ("test-model", "newer-model")
            for named, wrong in ((None, "newer-model"), (second, "test-model")):
                with pytest.raises(ModelMismatch):
                    each.search([Query(axis(0), fingerprint=wrong)], backing_index=named)
        other.write([entry("late", axis(0), version=2)], backing_index=second)
        other.write([Removal("shop.product:new", 2)], backing_index=second)
        other.refresh(second)
        assert keys(index, Query(axis(0)), second) == ["late", "both"]
        assert keys(index, Query(axis(0))) == ["old", "both"]
        index.promote(second)
        index.drop(first)
        query = Query(axis(0), fingerprint="newer-model")
        assert keys(index, query) == ["late", "both"]
        for each in (index, other):
            assert keys(each, query, second) == ["late", "both"]
            with pytest.raises(IndexMissing):
                each.search([Query(axis(0))], backing_index=first)

    @concurrent
    def test_searches_continue_during_swaps(self, make_index: Callable[[], BaseIndex], index: BaseIndex) -> None:
        """No search fails during a swap, and each sees a complete index."""
        index.promote(self._generation(index, 0))
        failures: list[Any] = []
        done = threading.Event()

        def look() -> None:
            reader = make_index()
            while not done.is_set():
                try:
                    [answer] = reader.search([Query(axis(0), limit=30)])
                    names = {match.key.partition(":")[2].partition("-")[0] for match in answer.candidates}
                    if len(answer) != 20 or len(names) != 1:
                        failures.append((len(answer), names))
                except Exception as error:
                    failures.append(error)
            self.close()

        readers = [threading.Thread(target=look) for _ in range(3)]
        for reader in readers:
            reader.start()
        try:
            for number in range(1, 5):
                former = index.active()
                index.promote(self._generation(index, number))
                time.sleep(0.1)
                assert former is not None
                index.drop(former)
        finally:
            done.set()
            for reader in readers:
                reader.join()
        assert failures == []

    @staticmethod
    def _generation(index: BaseIndex, number: int) -> str:
        backing_index = index.create(META)
        index.write(
            [entry(f"{number}-{n}", axis(0, towards=1, share=n / 9)) for n in range(20)], backing_index=backing_index
        )
        index.refresh(backing_index)
        return backing_index

    @concurrent
    def test_concurrent_writers_and_readers_lose_nothing(
        self, make_index: Callable[[], BaseIndex], index: BaseIndex
    ) -> None:
        index.promote(index.create(META))
        failures: list[Any] = []

        def run(work: Callable[[BaseIndex], None]) -> None:
            try:
                work(make_index())
            except Exception as error:
                failures.append(error)
            finally:
                self.close()

        def write(writer: int) -> Callable[[BaseIndex], None]:
            def work(mine: BaseIndex) -> None:
                for version in range(1, 9):
                    operations: Sequence[Entry | Removal] = [
                        *(entry(f"{writer}-{n}", axis(n), version=version) for n in range(5)),
                        entry("shared", axis(writer), version=version * 10 + writer),
                    ]
                    results = mine.write(operations)
                    assert {result.status for result in results[:-1]} == {"done"}
                    assert results[-1].status in ("done", "newer")

            return work

        def read(mine: BaseIndex) -> None:
            for _ in range(15):
                mine.search([Query(axis(0), limit=50)])

        threads = [threading.Thread(target=run, args=(work,)) for work in (write(1), write(2), read, read)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        index.refresh()
        assert dict(index.scan()) == {
            "shop.product:shared": 82,
            **{f"shop.product:{writer}-{n}": 8 for writer in (1, 2) for n in range(5)},
        }
        assert keys(index, Query(axis(2), limit=3)) == ["1-2", "2-2", "shared"]

    @staticmethod
    def close() -> None:
        """Close the connections at the end of a thread, because an index may have used the database."""
        connections.close_all()

    def test_an_unknown_similarity_is_a_configuration_error(self, index: BaseIndex) -> None:
        with pytest.raises(ConfigurationError, match=r"hamming.*'cosine', 'dot_product', 'l1' or 'l2'"):
            type(index)(**{**self.options(index), "similarity": "hamming"})

    def test_ping_and_check(self, index: BaseIndex) -> None:
        index.ping()
        assert index.check() == []
