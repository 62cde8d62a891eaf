"""How words are divided, stemmed and compared, and what roles they have. It knows no index and no answer."""
