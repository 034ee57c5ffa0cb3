"""Jobs: their requests, the ledger and store that save them, the tasks that compute results, and the dispatcher.

`requests`, `ledger` and `limits` import neither torch nor Ray, because the web process imports these modules.
"""
