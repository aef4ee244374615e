"""How bytes and facts rest: each file is one kind of store, synchronous and composable."""
