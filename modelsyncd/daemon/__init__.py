"""What every long-running process needs: configuration, log, lifetime, health."""
