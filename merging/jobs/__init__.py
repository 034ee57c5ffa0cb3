"""Requests, the ledger and store that remember them, and the dispatcher that has them run.

`request`, `ledger`, `store` and `limits` import neither torch nor Ray: the web process reads them.
"""
