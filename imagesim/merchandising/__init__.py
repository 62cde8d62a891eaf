"""Rules by which a shop decides what its visitors see: pinned, boosted, buried, left out, other words, messages."""
