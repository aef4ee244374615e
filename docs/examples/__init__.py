"""Examples that run, also in CI: each a fleet of real programs and jobs that use nothing but the client."""
