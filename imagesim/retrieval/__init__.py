"""The parts of the read side: what may be asked, how questions are mixed, how answers are ranked and loaded."""
