"""Shared parts of all pages: server, HTTP middleware, addresses, session state, escaping, caches, glossary."""
