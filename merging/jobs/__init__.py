"""Jobs: requests, the ledger and store that keep them, the tasks that compute them, and the dispatcher that runs them.

`requests`, `ledger` and `limits` import neither torch nor Ray, because the web process imports them.
"""
