"""Factors: one enum, one registry, the rules of which count, and a module for each kind."""
