"""The flows and rules of the service: what callers may do, in what order, and what it costs them. No wire, no SQL."""
