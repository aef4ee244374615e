"""A disk that can be watched: each call that changes it is seen in order, may be made to fail, and is replayed cut off.

Nothing here needs rights, a mount or compiled code: `calls.py` stands between our code and the `os` module,
`sqlite_calls.py` between SQLite and its own file layer.
"""
