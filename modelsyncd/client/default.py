"""The client that a program shares which does not make one: for the usual agent of this machine, connected when used.

It does not survive a fork: a process that was forked makes a Client of its own.
"""

from __future__ import annotations

from modelsyncd.client.blocking import Client

_client = Client()

acquire = _client.acquire
confirm = _client.confirm
find = _client.find
follow = _client.follow
get = _client.get
hasten = _client.hasten
list = _client.list  # noqa: A001 - by the same name as the method
outbox = _client.outbox
publish = _client.publish
record = _client.record
retry = _client.retry
show = _client.show
watch = _client.watch
withdraw = _client.withdraw
