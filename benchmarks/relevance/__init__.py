"""How good the answers are: known items, questions without an answer, the floor, words and pictures together."""
