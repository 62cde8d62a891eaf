"""A public shop under attack: hostile requests and damaged files over HTTP, and what each of them costs the server."""
