"""How others lay their models out: what is read from their folders and files, and what is written in their form."""
