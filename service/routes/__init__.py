"""One file a route; each offers `routes(backend)`, and `app` puts them together."""
