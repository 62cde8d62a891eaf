"""How words are divided, stemmed and compared, and what roles they have. It knows nothing of indexes or answers."""
