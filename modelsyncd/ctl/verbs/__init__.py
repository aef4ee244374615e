"""One file for each verb: what it takes, what it asks the hub, and how it tells the answer to people and programs."""
