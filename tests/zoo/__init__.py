"""Models of every awkward kind a shop may have, for the tests of paths, items, registry and checks."""
