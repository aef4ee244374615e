"""What this node serves over HTTP to programs of this machine that speak nothing else. Off unless switched on."""
