"""How queries by words are read, matched with the texts of entries, and ranked."""
