"""The compiler's outside: frontends, the driver that runs all stages, the command line, reports."""
