"""Session over HTTP: one thin module a protocol. Needs the extra `serve`."""
