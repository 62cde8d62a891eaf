"""Attack a shop with hostile requests and damaged files over HTTP, and measure their cost for the server."""
