"""Models with unusual relations and keys, for the tests of paths, items, registry and checks."""
