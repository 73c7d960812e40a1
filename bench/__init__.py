"""Measure the service against what its parts cost alone: an empty RPC, a bare hash."""
